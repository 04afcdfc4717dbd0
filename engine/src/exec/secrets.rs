//! The values of secrets, in memory only: fetched from where the plan says, put into arguments just before an act.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::plan::compiled::{SecretOrigin, SecretSource};
use crate::plan::template;

/// Says why a secret could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the secret `{name}` cannot be had from {origin}: {why}")]
pub struct SecretError {
    /// Its name.
    pub name: String,
    /// Where it should come from.
    pub origin: String,
    /// Why not.
    pub why: String,
}

/// The values of the secrets of one run.
#[derive(Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
}

impl Secrets {
    /// Fetches all of them. Commands run here, without a terminal to ask on.
    pub fn fetch(sources: &[SecretSource]) -> Result<Self, SecretError> {
        let mut values = BTreeMap::new();
        for source in sources {
            let fail = |origin: String, why: String| SecretError { name: source.name.clone(), origin, why };
            let value = match &source.origin {
                SecretOrigin::Env(name) => std::env::var(name)
                    .map_err(|error| fail(format!("the environment variable {name}"), error.to_string()))?,
                SecretOrigin::File(path) => std::fs::read_to_string(path)
                    .map_err(|error| fail(format!("the file {path}"), error.to_string()))?,
                SecretOrigin::Command(text) => {
                    let origin = || format!("the command `{text}`");
                    let output = Command::new("sh")
                        .args(["-c", text])
                        .stdin(std::process::Stdio::null())
                        .output()
                        .map_err(|error| fail(origin(), error.to_string()))?;
                    if !output.status.success() {
                        let stderr = String::from_utf8_lossy(&output.stderr);
                        return Err(fail(origin(), format!("{}: {}", output.status, stderr.trim())));
                    }
                    String::from_utf8(output.stdout)
                        .map_err(|_| fail(origin(), "its output is not UTF-8".to_owned()))?
                }
            };
            let value = value.strip_suffix('\n').map_or(value.clone(), str::to_owned);
            values.insert(source.name.clone(), value);
        }
        Ok(Self { values })
    }

    /// Puts the values in place of their placeholders.
    #[must_use]
    pub fn reveal(&self, value: &Value) -> Value {
        template::reveal(value, &|name| self.values.get(name).cloned())
    }
}
