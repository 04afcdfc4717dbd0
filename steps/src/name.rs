//! The names of things: one type for each, so that a host is never taken for a step.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Says why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {rule}")]
pub struct BadName {
    /// The text as given.
    pub text: String,
    /// What it should have named.
    pub what: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a name.
            pub fn new(text: impl Into<String>) -> Result<Self, BadName> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(BadName { text, what: $what, rule: $rule })
                }
            }

            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        // Not `into = "String"`, which would copy each name: a large plan has many.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_plain(text: &str, also: &[u8]) -> bool {
    text.len() <= 128
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

name!(
    /// Names a host of the site, as the site file writes it (not its address).
    HostName, "host name",
    "letters, digits, `-`, `.` and `_`, beginning with a letter or digit, at most 128",
    |text| is_plain(text, b"-._")
);
name!(
    /// Names a step of a plan; unique in the plan.
    StepId, "step id",
    "kebab-case: lower-case letters, digits and `-`, beginning with a letter or digit, at most 128",
    |text| is_plain(text, b"-") && !text.bytes().any(|b| b.is_ascii_uppercase())
);
name!(
    /// Names a run; part of directory names here and on the hosts.
    RunId, "run id",
    "letters, digits and `-`, beginning with a letter or digit, at most 128",
    |text| is_plain(text, b"-")
);
name!(
    /// Names one item of a step: the host, the index of the list element, or `-` where the step does not fan out.
    ItemKey, "item key",
    "letters, digits, `-`, `.` and `_`, at most 128",
    |text| text == "-" || is_plain(text, b"-._")
);

impl ItemKey {
    /// Returns the key of the only item of a step that does not fan out.
    #[must_use]
    pub fn single() -> Self {
        Self("-".to_owned())
    }

    /// Says whether the step of this item does not fan out.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.0 == "-"
    }
}

impl From<&HostName> for ItemKey {
    fn from(host: &HostName) -> Self {
        Self(host.0.clone())
    }
}

/// Names one try at one item of one run: the identity under which a host remembers that something was done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// The item of the step.
    pub item: ItemKey,
    /// Counts from 1.
    pub number: u32,
}

impl AttemptId {
    /// Returns the name of the attempt's directory below that of its run, for example `restore@cp1.1`.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("{}@{}.{}", self.step, self.item, self.number)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.run, self.directory())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_leave_their_directory() {
        for bad in ["", "..", "/etc", "a/b", "-x", "a b", "a\n", "é"] {
            assert!(HostName::new(bad).is_err(), "{bad:?}");
            assert!(StepId::new(bad).is_err(), "{bad:?}");
            assert!(RunId::new(bad).is_err(), "{bad:?}");
        }
        assert!(HostName::new("cp-1.example_x").is_ok());
        assert!(StepId::new("Stop").is_err());
    }

    #[test]
    fn a_name_is_checked_when_it_is_read_back() {
        assert!(serde_json::from_str::<HostName>("\"../x\"").is_err());
        assert_eq!(serde_json::to_string(&HostName::new("cp1").unwrap()).unwrap(), "\"cp1\"");
    }
}
