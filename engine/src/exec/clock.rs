//! Time, as the driver uses it: what time it is, and how long to pause between attempts.

use std::time::Duration;

use jiff::Timestamp;
use rand::RngExt as _;

use crate::plan::compiled::Retry;

/// Returns the wall-clock time.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns the pause after the given attempt: doubled each time up to the longest, then between half and all of it, so
/// that items that failed together do not come back together.
#[must_use]
pub fn backoff(retry: &Retry, attempt: u32) -> Duration {
    let doubled = retry.backoff.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
    doubled.min(retry.max_backoff).mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_and_is_bounded() {
        let retry = Retry { attempts: 9, backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(5) };
        for (attempt, most) in [(1, 1), (2, 2), (3, 4), (4, 5), (200, 5)] {
            let most = Duration::from_secs(most);
            let pause = backoff(&retry, attempt);
            assert!(pause <= most && pause >= most / 2, "attempt {attempt}: {pause:?}");
        }
    }
}
