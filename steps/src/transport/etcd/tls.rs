//! The TLS material of the site's etcd: read from this machine or from a host, and kept in memory only.

use etcd_client::{Certificate, Identity, TlsOptions};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

use crate::fault::{Fault, FaultKind};
use crate::site::Tls;
use crate::world::Reader;

/// What a client of etcd needs for TLS.
pub(super) struct Material {
    ca: Zeroizing<Vec<u8>>,
    cert: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    server_name: Option<String>,
}

impl Material {
    pub(super) async fn read(reader: &Reader<'_>) -> Result<Self, Fault> {
        let tls = configured(reader)?;
        let part = async |place: &str| reader.read(place).await.map_err(of_another_host);
        let (ca, cert, key) = (part(&tls.ca).await?, part(&tls.cert).await?, part(&tls.key).await?);
        certificates(&tls.ca, &ca)?;
        certificates(&tls.cert, &cert)?;
        Ok(Self { ca, cert, key, server_name: tls.server_name.clone() })
    }

    /// Returns the client's options; `host` is the name to expect where the site gives none.
    pub(super) fn options(&self, host: &str) -> TlsOptions {
        TlsOptions::new()
            .ca_certificate(Certificate::from_pem(self.ca.as_slice()))
            .identity(Identity::from_pem(self.cert.as_slice(), self.key.as_slice()))
            .domain_name(self.server_name.as_deref().unwrap_or(host))
    }
}

/// Says that it is the TLS files that a host does not give: the fault is shown beside members of other hosts.
fn of_another_host(fault: Fault) -> Fault {
    let Some(host) = fault.place.host.clone() else { return fault };
    let files = format!("the TLS files of etcd come from `{host}`");
    if fault.kind != FaultKind::Unreachable {
        return Fault { what: format!("{files}: {}", fault.what), ..fault };
    }
    let seen = fault.seen.as_ref().map_or_else(|| fault.what.clone(), |seen| format!("{}: {seen}", fault.what));
    Fault { what: format!("{files}, which cannot be reached"), seen: Some(seen), ..fault }
        .hint(format!("bring `{host}` back, or copy the files to this machine and name them in `etcd.tls`"))
}

fn configured<'w>(reader: &Reader<'w>) -> Result<&'w Tls, Fault> {
    reader.site().etcd.tls.as_ref().ok_or_else(|| {
        Fault::refused("the site gives no TLS material for etcd, though its members are reached by https")
            .hint("add `etcd.tls: { ca, cert, key }` to the site")
    })
}

/// Returns the certificates in a PEM text in their DER form, at least one; `place` names the text in faults.
pub(crate) fn certificates(place: &str, text: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let bad = |seen: String| {
        Fault::refused(format!("{place} holds no certificate"))
            .expected("a PEM file that begins with -----BEGIN CERTIFICATE-----")
            .seen(seen)
    };
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(text) {
        let block = block.map_err(|error| bad(error.to_string()))?;
        if block.label == "CERTIFICATE" {
            found.push(block.contents);
        }
    }
    if found.is_empty() {
        return Err(bad(format!("{} bytes without one", text.len())));
    }
    Ok(found)
}

/// Returns the SHA-256 of the DER form of the site's etcd CA certificate, the first of `etcd.tls.ca`, in lower-case
/// hexadecimal: what `identity.etcd_ca_sha256` is compared with.
pub async fn ca_fingerprint(reader: &Reader<'_>) -> Result<String, Fault> {
    let place = &configured(reader)?.ca;
    let text = reader.read(place).await?;
    let first = &certificates(place, &text)?[0];
    Ok(hex::encode(Sha256::digest(first)))
}
