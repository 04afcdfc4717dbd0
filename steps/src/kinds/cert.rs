//! `cert.valid`: certificates that are valid now and stay so for a while.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;

use crate::action::{Check, Observation};
use crate::args::{self, Arg, Rule, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::certificate::Certificate;
use crate::fault::Fault;
use crate::units;
use crate::world::Reader;

/// `cert.valid`
pub static VALID: Kind = Kind {
    name: "cert.valid",
    summary: "Certificates are valid now, and for a while longer.",
    details: "Every certificate in the file counts, those of the chain too. Without `path` it looks at the client certificate \
              and the CA that the site gives for etcd. Times are compared with this machine's clock.",
    seat: Seat::Here,
    args: &[
        Arg::optional("path", Type::Place, "A PEM file of this machine, or `HOST:/path` on a host of the site."),
        Arg::optional("paths", Type::List(&Type::Place), "Several such files."),
        Arg::optional("for", Type::Duration, "How much longer they must be valid; default: not longer than now."),
    ],
    rules: &[Rule::AtMostOne(&["path", "paths"])],
    example: "{ for: 1h }",
    make: Make::Check(|args| Ok(Box::new(args::read::<Valid>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Valid {
    path: Option<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default, rename = "for", deserialize_with = "units::as_written")]
    longer: Duration,
}

#[async_trait]
impl Check for Valid {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let mut places: Vec<&str> = self.path.iter().chain(&self.paths).map(String::as_str).collect();
        if places.is_empty() {
            let tls = reader.site().etcd.tls.as_ref().ok_or_else(|| {
                Fault::refused("the site gives no certificates for etcd")
                    .hint("name a file with `path`, or add `etcd.tls` to the site")
            })?;
            places = vec![&tls.cert, &tls.ca];
        }
        let now = Timestamp::now();
        let mut holds = true;
        let mut seen = Vec::new();
        for place in places {
            let text = reader.read(place).await?;
            for certificate in Certificate::of_pem(place, &text)? {
                let (valid, words) = judge(&certificate, now, self.longer);
                holds &= valid;
                seen.push(format!("{place} {words}"));
            }
        }
        let longer = humantime::format_duration(self.longer);
        let expected = if self.longer.is_zero() {
            "certificates that are valid now".to_owned()
        } else {
            format!("certificates that are valid now and for {longer} more")
        };
        Ok(Observation::new(holds, expected, seen.join("; ")))
    }
}

/// Says whether a certificate is valid now and for `longer`, and until when.
fn judge(certificate: &Certificate, now: Timestamp, longer: Duration) -> (bool, String) {
    let Certificate { subject, begins, ends } = certificate;
    let words = if now < *begins {
        format!("({subject}) is valid only from {begins}")
    } else if now > *ends {
        format!("({subject}) expired at {ends}")
    } else {
        format!("({subject}) is valid until {ends}")
    };
    let wanted = now.as_second().saturating_add_unsigned(longer.as_secs());
    (*begins <= now && wanted <= ends.as_second(), words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_certificate_must_be_valid_now_and_for_as_long_as_asked() {
        let mut params = rcgen::CertificateParams::new(vec!["etcd".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let certificate = Certificate::of_pem("x", pem.as_bytes()).unwrap().remove(0);
        let at = |text: &str, days: u64| judge(&certificate, text.parse().unwrap(), Duration::from_secs(days * 86400));
        assert!(at("2020-01-15T00:00:00Z", 7).0);
        assert!(!at("2020-01-15T00:00:00Z", 30).0, "it ends too early");
        assert!(at("2020-02-02T00:00:00Z", 0).1.contains("expired at 2020-02-01"));
        assert!(at("2019-12-31T00:00:00Z", 0).1.contains("only from 2020-01-01"));
    }
}
