//! Why there is no connection to a server, found in the chain of causes that a client's error carries.

use std::error::Error as StdError;
use std::io;

use rustls::{CertificateError, Error as TlsError};

/// What keeps a connection from being made or used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nothing listens there.
    Refused,
    /// It was not made in time.
    TooLate,
    /// There is no route to the host.
    NoRoute,
    /// The name of the host cannot be resolved.
    NoSuchName,
    /// It was closed by the other side.
    Closed,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is of another CA.
    OtherCa,
    /// The server's certificate is for another name.
    OtherName,
    /// The server says that the client's certificate has expired.
    ClientExpired,
    /// The server says that it does not know the CA of the client's certificate.
    ClientCa,
    /// The server does not accept the client's certificate.
    ClientRefused,
    /// The server ended the handshake with this alert.
    Alert(String),
    /// The server does not speak TLS.
    NotTls,
    /// TLS failed otherwise.
    Tls(String),
}

/// Walks down the causes of an error to the first that says why a connection is broken.
pub(super) fn broken(error: &(dyn StdError + 'static)) -> Option<Broken> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref::<TlsError>() {
            return Some(of_tls(tls));
        }
        if let Some(found) = cause.downcast_ref::<io::Error>().and_then(of_io) {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

fn of_io(error: &io::Error) -> Option<Broken> {
    // The source of an `io::Error` is the source of what it wraps: what it wraps has to be asked for itself.
    if let Some(found) = error.get_ref().and_then(|inner| broken(inner)) {
        return Some(found);
    }
    if let Some((_, alert)) = error.to_string().split_once("received fatal alert: ") {
        return Some(of_alert(alert));
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Broken::Refused),
        io::ErrorKind::TimedOut => Some(Broken::TooLate),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Some(Broken::NoRoute),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            Some(Broken::Closed)
        }
        _ if error.to_string().contains("lookup address") => Some(Broken::NoSuchName),
        _ => None,
    }
}

fn of_tls(error: &TlsError) -> Broken {
    use CertificateError as C;
    match error {
        TlsError::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => Broken::Expired,
        TlsError::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => Broken::NotYetValid,
        TlsError::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => Broken::OtherCa,
        TlsError::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => Broken::OtherName,
        TlsError::AlertReceived(alert) => of_alert(&format!("{alert:?}")),
        TlsError::InvalidMessage(_) => Broken::NotTls,
        other => Broken::Tls(other.to_string()),
    }
}

/// Explains an alert by its name: the layers in between keep no more than the text of it.
fn of_alert(alert: &str) -> Broken {
    match alert {
        "CertificateExpired" => Broken::ClientExpired,
        "UnknownCA" => Broken::ClientCa,
        "BadCertificate" | "CertificateUnknown" | "CertificateRequired" | "AccessDenied" | "UnsupportedCertificate" => {
            Broken::ClientRefused
        }
        other => Broken::Alert(other.to_owned()),
    }
}
