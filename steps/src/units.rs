//! Durations and sizes as plans write them: with a unit, never as bare numbers.

use std::time::Duration;

/// Says why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUnit {
    /// Not a duration.
    #[error("`{0}` is no duration: write a number and a unit, for example `90s` or `1h30m`")]
    Duration(String),
    /// A duration with `M`, which would be months.
    #[error(
        "`{written}` is no duration: `M` would be months, and the largest unit is the day; did you mean `{meant}`?"
    )]
    Months {
        /// What was written.
        written: String,
        /// The same with minutes.
        meant: String,
    },
    /// A duration in weeks, months or years.
    #[error("`{0}` is no duration: the largest unit is the day, for example `14d`")]
    TooLargeUnit(String),
    /// Not a size.
    #[error("`{0}` is no size: write a whole number and a unit, for example `512MiB` or `2GiB`")]
    Size(String),
}

/// The form of a duration, as a regular expression for the schema of plans. It knows no more than [`duration`].
pub const DURATION: &str = r"^(0|(\s*[0-9]+([.][0-9]+)?\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d))+\s*)$";

/// The form of a size, as a regular expression for the schema of plans. It knows no more than [`size`].
pub const SIZE: &str = r"^[0-9]+\s*([KMGT]i?)?B$";

/// The units that are read in what requorum has written itself, and refused in what people write: `5M` would be five
/// months where minutes are meant, and a month and a year have no one length.
const TOO_LARGE: [&str; 13] =
    ["weeks", "week", "wks", "wk", "w", "months", "month", "M", "years", "year", "yrs", "yr", "y"];

/// Reads a duration such as `250ms`, `90s` or `1h30m`, as people write it.
pub fn duration(text: &str) -> Result<Duration, BadUnit> {
    let read = any_duration(text)?;
    if !text.split(|c: char| !c.is_alphabetic()).any(|unit| TOO_LARGE.contains(&unit)) {
        return Ok(read);
    }
    let meant = text.replace('M', "m");
    if meant != text && duration(&meant).is_ok() {
        return Err(BadUnit::Months { written: text.to_owned(), meant });
    }
    Err(BadUnit::TooLargeUnit(text.to_owned()))
}

/// Reads a duration in whatever unit: what requorum itself writes goes up to years.
fn any_duration(text: &str) -> Result<Duration, BadUnit> {
    let bad = || BadUnit::Duration(text.to_owned());
    if text.bytes().all(|b| b.is_ascii_digit()) && text != "0" {
        return Err(bad());
    }
    humantime::parse_duration(text).map_err(|_| bad())
}

/// Reads a size such as `512MiB` and returns bytes. Units: B, and powers of 1024 (KiB to TiB) or 1000 (KB to TB).
pub fn size(text: &str) -> Result<u64, BadUnit> {
    let bad = || BadUnit::Size(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    let unit: u64 = match text[digits..].trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    number.checked_mul(unit).ok_or_else(bad)
}

/// Writes bytes for a person, for example `20.1 MiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Reads a [`Duration`] as people write it: `#[serde(deserialize_with = "units::as_written")]`.
pub fn as_written<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    use serde::{Deserialize as _, de::Error as _};
    duration(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Serde for a [`Duration`] that requorum keeps with a unit: `#[serde(with = "units::serde_duration")]`.
pub mod serde_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes the duration with its unit.
    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }

    /// Reads a duration with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        super::any_duration(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn units_are_required() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("90").is_err());
        assert!(duration("").is_err());
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("2 GB"), Ok(2_000_000_000));
        assert!(size("512").is_err());
        assert!(size("99999999999TiB").is_err());
        assert_eq!(show_size(21_037_088), "20.1 MiB");
    }

    #[test]
    fn a_month_is_no_unit_and_minutes_are_suggested() {
        for (written, meant) in [("5M", "5m"), ("1h 30M", "1h 30m")] {
            let error = duration(written).unwrap_err();
            assert_eq!(error, BadUnit::Months { written: written.to_owned(), meant: meant.to_owned() });
            assert!(error.to_string().ends_with(&format!("did you mean `{meant}`?")), "{error}");
        }
        for written in ["2w", "2weeks", "1month", "1y", "1y 2M"] {
            assert_eq!(duration(written), Err(BadUnit::TooLargeUnit(written.to_owned())));
        }
        assert!(matches!(duration("5MB"), Err(BadUnit::Duration(_))));
        assert_eq!(duration("400d"), Ok(Duration::from_hours(400 * 24)));
    }

    #[test]
    fn what_is_kept_is_read_back_however_long_it_is() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Kept(#[serde(with = "serde_duration")] Duration);
        let kept = serde_json::to_string(&Kept(Duration::from_hours(400 * 24))).unwrap();
        assert!(kept.contains("month"), "{kept}");
        assert_eq!(serde_json::from_str::<Kept>(&kept).unwrap().0, Duration::from_hours(400 * 24));
    }

    #[test]
    fn the_forms_are_those_of_what_is_read() {
        let duration_form = regex::Regex::new(DURATION).unwrap();
        let units = "nanos nsec ns usec us µs millis msec ms seconds second secs sec s minutes minute mins min m hours hour \
                     hrs hr h days day d weeks week wks wk w months month M years year yrs yr y x Ms mx";
        for unit in units.split_whitespace() {
            for text in [
                format!("2{unit}"),
                format!("2 {unit}"),
                format!("1h30{unit}"),
                format!(" 1h 30{unit} "),
                format!("{unit}2"),
            ] {
                assert_eq!(duration_form.is_match(&text), duration(&text).is_ok(), "{text:?}");
            }
        }
        for text in
            ["", "0", "00", "90", "1.5h", "1h30", "-1s", "1,5h", "fast", "90s\n", "0s", "1.s", "s", "5 minutes please"]
        {
            assert_eq!(duration_form.is_match(text), duration(text).is_ok(), "{text:?}");
        }
        let size_form = regex::Regex::new(SIZE).unwrap();
        for text in [
            "", "5", "5B", "5 B", "5KiB", "5MiB", "5GiB", "5TiB", "5KB", "5MB", "5GB", "5TB", "5iB", "5kB", "5PiB",
            "B", "-5B", "5.5GiB",
        ] {
            assert_eq!(size_form.is_match(text), size(text).is_ok(), "{text:?}");
        }
    }
}
