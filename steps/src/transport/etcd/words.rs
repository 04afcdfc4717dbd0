//! What went wrong on the way to etcd, in the words an operator needs.
//!
//! The client reports nearly everything as "transport error"; what happened is further down the chain of causes.

use std::error::Error as StdError;

use crate::fault::{Fault, FaultKind};
use crate::transport::link::{self, Broken};
use crate::transport::trouble::{self, Advice, Trouble};

/// What an operator does about a connection to a member that is broken.
const ADVICE: Advice = Advice {
    refused: "is etcd running on that host?",
    no_such_name: "use an address in the site, or repair DNS",
    closed: "it is restarting, or does not accept the client certificate, or only one of the two sides speaks TLS",
    renew: "renew the member's certificate, and compare the clocks",
    other_ca: "that is not the site's",
    which_ca: "is `etcd.tls.ca` the CA of this cluster?",
    other_name: "set `etcd.tls.server_name` to a name in the certificate",
    of_client: "check `etcd.tls.cert` and `etcd.tls.key` of the site: validity, CA, and usage for clients",
    not_tls: "does the site have https where the member listens with http?",
};

/// Says that a call was not answered in time.
pub(super) fn silent(seconds: f32) -> Trouble {
    Trouble::silent(seconds, "it hangs, is overloaded, or has no leader; see its log and `etcdctl endpoint status`")
}

/// Makes trouble a fault of a call to a member.
pub(super) fn fault(trouble: Trouble, url: &str, call: &str) -> Fault {
    trouble.into_fault(&format!("etcd at {url}"), &format!("{call} of {url}"))
}

/// Says what an error of the client means.
pub(super) fn explain(error: &etcd_client::Error) -> Trouble {
    let mut trouble = diagnose(error);
    let next = match error {
        etcd_client::Error::GRpcStatus(status) => status.source(),
        etcd_client::Error::TransportError(cause) => cause.source(),
        other => other.source(),
    };
    trouble.seen = trouble::causes(error, next);
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
        return from_link(&Broken::Closed);
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
    // The client does not say whether what was closed had carried a call.
    Trouble { maybe_done: *broken == Broken::Closed, ..Trouble::broken(broken, &ADVICE) }
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
