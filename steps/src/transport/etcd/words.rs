//! What went wrong on the way to etcd, in the words an operator needs.
//!
//! The client reports nearly everything as "transport error"; what happened is further down the chain of causes.

use std::error::Error as StdError;

use crate::fault::{Fault, FaultKind};
use crate::transport::link::{self, Broken};

/// What an error of the client means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    kind: FaultKind,
    /// Completes "etcd at URL …".
    what: String,
    hint: Option<&'static str>,
    /// The chain of causes.
    cause: String,
    /// Whether the connection is of no more use.
    pub(super) link: bool,
    /// Whether the call may have arrived and been carried out all the same.
    pub(super) maybe_done: bool,
}

impl Trouble {
    fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None, cause: String::new(), link: false, maybe_done: false }
    }

    fn link(what: impl Into<String>) -> Self {
        Self { link: true, ..Self::new(FaultKind::Unreachable, what) }
    }

    /// A connection that was made and cannot be used: nothing was asked, and trying again will not help.
    fn refused(what: impl Into<String>) -> Self {
        Self { link: true, ..Self::new(FaultKind::Refused, what) }
    }

    fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Says that a call was not answered in time.
    pub(super) fn silent(seconds: f32) -> Self {
        Self { maybe_done: true, ..Self::link(format!("did not answer within {seconds} s")) }
            .hint("it hangs, is overloaded, or has no leader; see its log and `etcdctl endpoint status`")
    }

    /// Says that the connection was closed during a call.
    fn closed() -> Self {
        Self { maybe_done: true, ..Self::link("closed the connection") }.hint(
            "it is restarting, or does not accept the client certificate, or only one of the two sides speaks TLS",
        )
    }

    /// Makes it a fault of a call to a member.
    pub(super) fn into_fault(self, url: &str, call: &str) -> Fault {
        let mut fault =
            Fault::new(self.kind, format!("etcd at {url} {}", self.what)).during(format!("{call} of {url}"));
        if !self.cause.is_empty() {
            fault = fault.seen(self.cause);
        }
        if let Some(hint) = self.hint {
            fault = fault.hint(hint);
        }
        fault
    }
}

/// Says what an error of the client means.
pub(super) fn explain(error: &etcd_client::Error) -> Trouble {
    let mut trouble = diagnose(error);
    trouble.cause = causes(error);
    trouble
}

fn diagnose(error: &etcd_client::Error) -> Trouble {
    use etcd_client::Error as E;
    match error {
        E::GRpcStatus(status) => {
            if let Some(trouble) = status.source().and_then(from_causes) {
                return trouble;
            }
            from_status(status.message(), &format!("{:?}", status.code()))
        }
        E::TransportError(cause) => from_causes(cause).unwrap_or_else(|| Trouble::link("could not be connected to")),
        E::IoError(cause) => from_causes(cause).unwrap_or_else(|| Trouble::link("could not be connected to")),
        other => Trouble::new(FaultKind::Failed, format!("was not called: {other}")),
    }
}

/// Explains an answer of etcd itself by its message; the texts are those of etcd's `rpctypes`.
fn from_status(message: &str, code: &str) -> Trouble {
    let has = |text: &str| message.contains(text);
    if has("no leader") || has("leader changed") {
        return Trouble::new(FaultKind::Failed, "has no leader: a majority of the voters is not up")
            .hint("start the missing members; without a majority only a restore brings the cluster back");
    }
    if has("request timed out") {
        let what = "could not get the agreement of a majority in time: the quorum is lost or slow";
        return Trouble { maybe_done: true, ..Trouble::new(FaultKind::Failed, what) }
            .hint("see which members answer `etcdctl endpoint status`, and whether their disks and network keep up");
    }
    if has("permission denied") || code == "PermissionDenied" {
        return Trouble::new(FaultKind::Failed, "refused the call: permission denied")
            .hint("authentication is on; the client certificate's common name needs a user with the role root");
    }
    if has("authentication") || has("auth token") || has("user name is empty") || code == "Unauthenticated" {
        return Trouble::new(
            FaultKind::Failed,
            "refused the call: it wants a user that the client certificate does not name",
        )
        .hint("use a client certificate whose common name is an etcd user");
    }
    if has("unhealthy cluster") || has("not enough started members") {
        return Trouble::new(FaultKind::Refused, "refuses to change its membership: a quorum would not be safe")
            .hint("members must have been connected for 5 s, and those that are started must keep a majority: wait, then retry");
    }
    if has("can only promote a learner member which is in sync") {
        return Trouble::new(FaultKind::Refused, "refuses to promote the learner: it has not caught up")
            .hint("wait until its revision is near the leader's, then retry");
    }
    if has("too many learner members") {
        return Trouble::new(FaultKind::Refused, "refuses another learner: the cluster has one already")
            .hint("promote or remove the learner that is there (see `etcdctl member list`), then retry");
    }
    if code == "Cancelled" && !has("etcdserver") {
        return Trouble::closed();
    }
    if code == "Unavailable" && !has("etcdserver") {
        return Trouble::link("is not available");
    }
    Trouble::new(FaultKind::Failed, format!("answered: {message}"))
}

/// Explains why there is no connection, if the causes say so.
fn from_causes(error: &(dyn StdError + 'static)) -> Option<Trouble> {
    link::broken(error).map(|broken| from_link(&broken))
}

fn from_link(broken: &Broken) -> Trouble {
    let renew = "renew the member's certificate, and compare the clocks";
    let of_client = "check `etcd.tls.cert` and `etcd.tls.key` of the site: validity, CA, and usage for clients";
    match broken {
        Broken::Refused => {
            Trouble::link("refused the connection: nothing listens there").hint("is etcd running on that host?")
        }
        Broken::TooLate => Trouble::link("could not be connected to in time")
            .hint("is the host up, and does a firewall let the port through?"),
        Broken::NoRoute => Trouble::link("cannot be reached: there is no route to the host")
            .hint("is the host up and on this network?"),
        Broken::NoSuchName => {
            Trouble::link("has a host name that cannot be resolved").hint("use an address in the site, or repair DNS")
        }
        Broken::Closed => Trouble::closed(),
        Broken::Expired => Trouble::refused("shows a certificate that has expired").hint(renew),
        Broken::NotYetValid => Trouble::refused("shows a certificate that is not valid yet").hint(renew),
        Broken::OtherCa => Trouble::refused("shows a certificate of a CA that is not the site's")
            .hint("is `etcd.tls.ca` the CA of this cluster?"),
        Broken::OtherName => Trouble::refused("shows a certificate for another name")
            .hint("set `etcd.tls.server_name` to a name in the certificate"),
        Broken::ClientExpired => Trouble::refused("says that the client certificate has expired").hint(of_client),
        Broken::ClientCa => {
            Trouble::refused("says that it does not know the CA of the client certificate").hint(of_client)
        }
        Broken::ClientRefused => Trouble::refused("does not accept the client certificate").hint(of_client),
        Broken::Alert(alert) => Trouble::refused(format!("ended the TLS handshake: {alert}")),
        Broken::NotTls => {
            Trouble::refused("does not speak TLS").hint("does the site have https where the member listens with http?")
        }
        Broken::Tls(error) => Trouble::refused(format!("could not be connected to by TLS: {error}")),
    }
}

/// Writes the chain of causes on one line; what repeats the one before is left out.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = match error.downcast_ref::<etcd_client::Error>() {
        Some(etcd_client::Error::GRpcStatus(status)) => status.source(),
        Some(etcd_client::Error::TransportError(cause)) => cause.source(),
        _ => error.source(),
    };
    while let Some(cause) = next {
        let line = cause.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::{CertificateError, Error as TlsError};

    use super::*;

    fn wrapped(inner: TlsError) -> Trouble {
        let error = io::Error::new(io::ErrorKind::InvalidData, inner);
        explain(&etcd_client::Error::IoError(error))
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_apart() {
        let cases = [
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidYet, "not valid yet"),
            (CertificateError::UnknownIssuer, "CA that is not the site's"),
            (CertificateError::NotValidForName, "another name"),
        ];
        for (error, words) in cases {
            let trouble = wrapped(TlsError::InvalidCertificate(error));
            assert!(trouble.what.contains(words), "{}", trouble.what);
            assert_eq!((trouble.kind, trouble.link), (FaultKind::Refused, true));
        }
        let told = io::Error::new(io::ErrorKind::InvalidData, "received fatal alert: BadCertificate");
        assert!(explain(&etcd_client::Error::IoError(told)).what.contains("does not accept the client certificate"));
        assert!(
            wrapped(TlsError::AlertReceived(rustls::AlertDescription::UnknownCA)).what.contains("client certificate")
        );
    }

    #[test]
    fn what_etcd_answers_is_told_apart_from_no_answer() {
        for (message, words) in [
            ("etcdserver: no leader", "no leader"),
            ("etcdserver: request timed out", "majority"),
            ("etcdserver: permission denied", "permission"),
            ("etcdserver: unhealthy cluster", "membership"),
            ("etcdserver: mvcc: required revision has been compacted", "compacted"),
        ] {
            let trouble = from_status(message, "Unavailable");
            assert!(trouble.what.contains(words), "{}", trouble.what);
            assert!(!trouble.link);
        }
    }
}
