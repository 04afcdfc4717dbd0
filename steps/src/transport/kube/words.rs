//! What went wrong on the way to the API of Kubernetes, in the words an operator needs.

use std::error::Error as StdError;

use hyper_util::client::legacy;
use serde_json::Value;

use crate::fault::{Fault, FaultKind};
use crate::transport::link::{self, Broken};

/// What an error means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: FaultKind,
    /// Completes "the API at URL …".
    what: String,
    hint: Option<&'static str>,
    /// What the server or the client said.
    seen: String,
    /// Whether the connection is of no more use.
    pub(super) link: bool,
    /// Whether the call may have arrived and been carried out all the same.
    pub(super) maybe_done: bool,
}

impl Trouble {
    fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None, seen: String::new(), link: false, maybe_done: false }
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
            .hint("it hangs or is overloaded, or its etcd does; see the logs of kube-apiserver and etcd")
    }

    /// Says that an answer was no JSON, or not such as it must be.
    pub(super) fn garbled(seen: impl Into<String>) -> Self {
        Self {
            seen: seen.into(),
            maybe_done: true,
            ..Self::new(FaultKind::Failed, "gave an answer that is not the API's")
        }
        .hint("is something else listening there, such as a proxy?")
    }

    /// Makes it a fault of a call.
    pub(super) fn into_fault(self, url: &str, call: &str) -> Fault {
        let mut fault = Fault::new(self.kind, format!("the API at {url} {}", self.what)).during(call);
        if !self.seen.is_empty() {
            fault = fault.seen(self.seen);
        }
        if let Some(hint) = self.hint {
            fault = fault.hint(hint);
        }
        fault
    }
}

/// Says what an error of the client means.
pub(super) fn explain(error: &kube::Error) -> Trouble {
    let mut trouble = link::broken(error).map_or_else(
        || Trouble::link("could not be spoken to").hint("see what is said of it, and the log of kube-apiserver"),
        |broken| from_link(&broken),
    );
    trouble.maybe_done = trouble.kind == FaultKind::Unreachable && !connecting(error);
    trouble.seen = causes(error);
    trouble
}

/// Says whether a connection was still being made, so that nothing was sent.
fn connecting(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<legacy::Error>() {
            return error.is_connect();
        }
        next = cause.source();
    }
    false
}

fn from_link(broken: &Broken) -> Trouble {
    let renew = "renew the certificate of kube-apiserver, and compare the clocks";
    let of_client = "renew the client certificate in the kubeconfig, or name another kubeconfig";
    match broken {
        Broken::Refused => Trouble::link("refused the connection: nothing listens there")
            .hint("is kube-apiserver running there, or what balances between API servers?"),
        Broken::TooLate => Trouble::link("could not be connected to in time")
            .hint("is the host up, and does a firewall let the port through?"),
        Broken::NoRoute => Trouble::link("cannot be reached: there is no route to the host")
            .hint("is the host up and on this network?"),
        Broken::NoSuchName => Trouble::link("has a host name that cannot be resolved").hint("repair DNS"),
        Broken::Closed => {
            Trouble::link("closed the connection").hint("it is restarting, or its balancer has no server")
        }
        Broken::Expired => Trouble::refused("shows a certificate that has expired").hint(renew),
        Broken::NotYetValid => Trouble::refused("shows a certificate that is not valid yet").hint(renew),
        Broken::OtherCa => Trouble::refused("shows a certificate of a CA that the kubeconfig does not know")
            .hint("is it the kubeconfig of this cluster?"),
        Broken::OtherName => Trouble::refused("shows a certificate for another name").hint(
            "set `kube.server_name` in the site, or `tls-server-name` in the kubeconfig, to a name in the certificate",
        ),
        Broken::ClientExpired => Trouble::refused("says that the client certificate has expired").hint(of_client),
        Broken::ClientCa | Broken::ClientRefused => {
            Trouble::refused("does not accept the client certificate").hint(of_client)
        }
        Broken::Alert(alert) => Trouble::refused(format!("ended the TLS handshake: {alert}")),
        Broken::NotTls => Trouble::refused("does not speak TLS").hint("is it the right port?"),
        Broken::Tls(error) => Trouble::refused(format!("could not be connected to by TLS: {error}")),
    }
}

/// Says what an answer of the API with an error status means. `body` is a `Status` of Kubernetes, or what something in
/// between has to say.
pub(super) fn refusal(status: u16, body: &[u8]) -> Trouble {
    let told: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let message = told["message"].as_str().map_or_else(|| first_line(body), str::to_owned);
    let refused = |what: &str| Trouble::new(FaultKind::Refused, what);
    let trouble = match status {
        401 => refused("does not know who asks: the credentials were not accepted")
            .hint("renew the client certificate or token in the kubeconfig"),
        403 => refused("forbids it").hint("use a kubeconfig of an administrator, or grant its user what is missing"),
        404 => refused("has no such thing"),
        409 => refused("refuses it: it does not fit what is there"),
        429 => Trouble::new(FaultKind::Failed, "has too much to do").hint("wait, then retry"),
        500..=599 => Trouble {
            maybe_done: true,
            ..Trouble::new(FaultKind::Failed, format!("could not carry it out: status {status}"))
        }
        .hint("see the log of kube-apiserver, and whether etcd has a quorum"),
        _ => refused("refuses it"),
    };
    Trouble { seen: message, ..trouble }
}

fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line: String = text.trim().lines().next().unwrap_or_default().chars().take(200).collect();
    if line.is_empty() { "an empty answer".to_owned() } else { line }
}

/// Writes the chain of causes on one line; what repeats the one before is left out.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
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
    use super::*;

    #[test]
    fn what_the_api_answers_is_told_apart() {
        let of = |status, body: &str| refusal(status, body.as_bytes());
        let forbidden = of(403, r#"{"kind":"Status","message":"secrets is forbidden","reason":"Forbidden"}"#);
        assert_eq!((forbidden.kind, forbidden.maybe_done), (FaultKind::Refused, false));
        assert_eq!(forbidden.seen, "secrets is forbidden");
        let broken = of(500, "etcdserver: request timed out\nmore");
        assert_eq!((broken.kind, broken.maybe_done), (FaultKind::Failed, true));
        assert_eq!(broken.seen, "etcdserver: request timed out");
        assert!(!of(429, "").maybe_done);
        assert!(of(503, "").maybe_done);
    }

    #[test]
    fn a_connection_that_was_closed_leaves_open_what_was_done() {
        let closed = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let trouble = explain(&kube::Error::Service(closed.into()));
        assert_eq!((trouble.kind, trouble.link, trouble.maybe_done), (FaultKind::Unreachable, true, true));
    }
}
