//! How far the clock of a host is from this machine's, as well as that can be told over SSH.
//!
//! What a host says of its time is true at some moment between the question and the answer. So the difference is known only
//! between two bounds, as far apart as the round trip took, and what lies between them is no finding.

use std::time::Instant;

use jiff::Timestamp;

use crate::fault::Fault;
use crate::world::{Reader, Script};

/// How often a clock is looked at: the first look may have had to connect, and the quickest tells most.
const LOOKS: usize = 3;

/// Prints seconds and nanoseconds since 1970; of the latter something else where `date` does not know them, as in busybox.
const DATE: &str = "date '+%s %N'";

/// How far a clock is ahead of this machine's (behind, below 0), in milliseconds: somewhere between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    least_ms: i64,
    most_ms: i64,
}

impl Ahead {
    #[cfg(test)]
    pub(crate) fn of(least_ms: i64, most_ms: i64) -> Self {
        Self { least_ms, most_ms }
    }

    /// What `date` said when it was asked between two times of this machine; `None` if that is no time.
    fn between(before_ms: i64, said: &str, after_ms: i64) -> Option<Self> {
        let (seconds, rest) = said.trim().split_once(' ').unwrap_or((said.trim(), ""));
        let second_ms = seconds.parse::<i64>().ok()?.checked_mul(1000)?;
        let nanos = Some(rest).filter(|nanos| nanos.len() == 9 && nanos.bytes().all(|digit| digit.is_ascii_digit()));
        // Milliseconds and seconds are cut off: the clock was there or up to one of them further.
        let (first_ms, last_ms) = match nanos.and_then(|nanos| nanos.parse::<i64>().ok()) {
            Some(nanos) => (second_ms + nanos / 1_000_000, second_ms + nanos / 1_000_000 + 1),
            None => (second_ms, second_ms + 1000),
        };
        Some(Self { least_ms: first_ms - after_ms, most_ms: last_ms - before_ms })
    }

    /// The middle of the bounds, in milliseconds.
    #[must_use]
    pub fn middle_ms(self) -> i64 {
        i64::midpoint(self.least_ms, self.most_ms)
    }

    /// How far the difference may be from the middle, in milliseconds: half of the round trip and of what the clock cuts off.
    #[must_use]
    pub fn uncertain_ms(self) -> i64 {
        (self.most_ms - self.least_ms + 1) / 2
    }

    /// By how much it is ahead (behind, below 0) at least, in milliseconds; 0 if the round trip may be the whole difference.
    #[must_use]
    pub fn surely_ms(self) -> i64 {
        self.least_ms.max(0) + self.most_ms.min(0)
    }
}

/// By how much two clocks are apart at least, this machine's among them, in milliseconds, where each of the others is surely
/// ahead of it by so much.
pub fn apart_ms(surely_ms: impl IntoIterator<Item = i64>) -> i64 {
    let clocks = surely_ms.into_iter();
    let (least, most) = clocks.fold((0, 0), |(least, most), ahead| (ahead.min(least), ahead.max(most)));
    most - least
}

/// Looks at the clock of the reader's host.
pub async fn look(reader: &Reader<'_>) -> Result<Ahead, Fault> {
    let host = &reader.host()?.name;
    let mut found: Option<Ahead> = None;
    for _ in 0..LOOKS {
        let (before_ms, begun) = (Timestamp::now().as_millisecond(), Instant::now());
        let output = reader.look(&Script::new(DATE, [""; 0])).await?;
        // By the clock that nobody sets; a millisecond more for each that was cut off.
        let took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX / 2);
        let ahead = Ahead::between(before_ms, &output.text(), before_ms + took_ms + 2).ok_or_else(|| {
            Fault::failed("`date` told no time").expected("seconds since 1970").seen(output.tail(2)).on(host)
        })?;
        found = found.into_iter().chain([ahead]).min_by_key(|ahead| ahead.uncertain_ms());
    }
    found.ok_or_else(|| Fault::failed("the clock was not looked at").on(host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A look that began at 10.5 s and ended at 13 s by this machine's clock.
    fn said(text: &str) -> Ahead {
        Ahead::between(10_500, text, 13_000).unwrap()
    }

    #[test]
    fn a_clock_is_off_only_by_what_the_round_trip_does_not_explain() {
        for within in ["10 %N", "11", "12 000000000", "13 000000000", "10 500000000"] {
            assert_eq!(said(within).surely_ms(), 0, "{within}");
        }
        assert_eq!(said("73 000000000").surely_ms(), 60_000);
        assert_eq!(said("5 %N").surely_ms(), -4500, "it may have been 5.999…");
        assert_eq!(said("5 000000000").surely_ms(), -5499);
    }

    #[test]
    fn the_difference_is_uncertain_by_half_the_round_trip() {
        let ahead = said("71 750000000");
        assert_eq!((ahead.middle_ms(), ahead.uncertain_ms()), (60_000, 1251));
        assert_eq!(said("71").uncertain_ms(), 1750, "and by half a second where only seconds are told");
        assert_eq!(Ahead::between(1000, "1 000000000", 1000).unwrap().uncertain_ms(), 1);
    }

    #[test]
    fn what_is_no_time_is_not_taken_for_one() {
        for text in ["", "date: invalid option", "-", "99999999999999999999 0", "9223372036854775807"] {
            assert_eq!(Ahead::between(0, text, 1), None, "{text}");
        }
    }

    #[test]
    fn clocks_are_apart_by_the_greatest_sure_distance_and_this_machine_counts() {
        assert_eq!(apart_ms([]), 0);
        assert_eq!(apart_ms([3000]), 3000);
        assert_eq!(apart_ms([-2000, 0, 3000]), 5000);
        assert_eq!(apart_ms([7000, 7000]), 7000, "in step with each other, and not with this machine");
    }
}
