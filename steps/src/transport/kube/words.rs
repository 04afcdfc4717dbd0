//! What went wrong on the way to the API of Kubernetes, in the words an operator needs.

use std::error::Error as StdError;

use hyper_util::client::legacy;
use serde_json::Value;

use crate::fault::{Fault, FaultKind};
use crate::transport::link;
use crate::transport::trouble::{self, Advice, Trouble};

/// What an operator does about a connection to the API that is broken.
const ADVICE: Advice = Advice {
    refused: "is kube-apiserver running there, or what balances between API servers?",
    no_such_name: "repair DNS",
    closed: "it is restarting, or its balancer has no server",
    renew: "renew the certificate of kube-apiserver, and compare the clocks",
    other_ca: "that the kubeconfig does not know",
    which_ca: "is it the kubeconfig of this cluster?",
    other_name: "set `kube.server_name` in the site, or `tls-server-name` in the kubeconfig, to a name in the certificate",
    of_client: "renew the client certificate in the kubeconfig, or name another kubeconfig",
    not_tls: "is it the right port?",
};

/// Says that a call was not answered in time.
pub(super) fn silent(seconds: f32) -> Trouble {
    Trouble::silent(seconds, "it hangs or is overloaded, or its etcd does; see the logs of kube-apiserver and etcd")
}

/// Says that an answer was no JSON, or not such as it must be.
pub(super) fn garbled(seen: impl Into<String>) -> Trouble {
    Trouble {
        seen: seen.into(),
        maybe_done: true,
        ..Trouble::new(FaultKind::Failed, "gave an answer that is not the API's")
    }
    .hint("is something else listening there, such as a proxy?")
}

/// Makes trouble a fault of a call to the API.
pub(super) fn fault(trouble: Trouble, url: &str, call: &str) -> Fault {
    trouble.into_fault(&format!("the API at {url}"), call)
}

/// Says what an error of the client means.
pub(super) fn explain(error: &kube::Error) -> Trouble {
    let mut trouble = link::broken(error).map_or_else(
        || Trouble::link("could not be spoken to").hint("see what is said of it, and the log of kube-apiserver"),
        |broken| Trouble::broken(&broken, &ADVICE),
    );
    trouble.maybe_done = trouble.kind == FaultKind::Unreachable && !connecting(error);
    trouble.seen = trouble::causes(error, error.source());
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
