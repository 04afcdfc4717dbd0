//! Certificates: for whom they are, and from when to when they are valid.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::fault::Fault;
use crate::transport::etcd::certificates;

/// A certificate, as far as a person who looks for an expired one cares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// For whom it is.
    pub subject: String,
    /// When it begins to be valid.
    pub begins: Timestamp,
    /// When it expires.
    pub ends: Timestamp,
}

impl Certificate {
    /// Reads a certificate in DER form; `place` names its origin in faults.
    pub fn of_der(place: &str, der: &[u8]) -> Result<Self, Fault> {
        let unreadable =
            |seen: String| Fault::refused(format!("{place} holds a certificate that cannot be read")).seen(seen);
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
        let validity = certificate.validity();
        let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| unreadable(error.to_string()));
        Ok(Self {
            subject: certificate.subject().to_string(),
            begins: time(validity.not_before.timestamp())?,
            ends: time(validity.not_after.timestamp())?,
        })
    }

    /// Reads the certificates in a PEM text, at least one; `place` names the text in faults.
    pub fn of_pem(place: &str, text: &[u8]) -> Result<Vec<Self>, Fault> {
        certificates(place, text)?.iter().map(|der| Self::of_der(place, der)).collect()
    }
}
