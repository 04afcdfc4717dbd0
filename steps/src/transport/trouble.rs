//! What went wrong on the way to a server, in the words an operator needs: what the clients of all servers have in common.

use std::error::Error as StdError;

use super::link::Broken;
use crate::fault::{Fault, FaultKind};

/// What an error of a client means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: FaultKind,
    /// Completes "SERVER …".
    pub(super) what: String,
    pub(super) hint: Option<&'static str>,
    /// What the server or the client said.
    pub(super) seen: String,
    /// Whether the connection is of no more use.
    pub(super) link: bool,
    /// Whether the call may have arrived and been carried out all the same.
    pub(super) maybe_done: bool,
}

/// What differs between servers where a connection is broken.
pub(super) struct Advice {
    /// Where nothing listens.
    pub(super) refused: &'static str,
    /// Where a name cannot be resolved.
    pub(super) no_such_name: &'static str,
    /// Where the connection was closed.
    pub(super) closed: &'static str,
    /// Where the server's certificate is not valid now.
    pub(super) renew: &'static str,
    /// Whose the CA of the server's certificate is not: completes "a certificate of a CA …".
    pub(super) other_ca: &'static str,
    /// Where it is of another CA.
    pub(super) which_ca: &'static str,
    /// Where the server's certificate is for another name.
    pub(super) other_name: &'static str,
    /// Where the server does not take the client's certificate.
    pub(super) of_client: &'static str,
    /// Where it does not speak TLS.
    pub(super) not_tls: &'static str,
}

impl Trouble {
    pub(super) fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None, seen: String::new(), link: false, maybe_done: false }
    }

    /// A connection that is not there, or no longer.
    pub(super) fn link(what: impl Into<String>) -> Self {
        Self { link: true, ..Self::new(FaultKind::Unreachable, what) }
    }

    /// A connection that was made and cannot be used: nothing was asked, and trying again will not help.
    fn refused(what: impl Into<String>) -> Self {
        Self { link: true, ..Self::new(FaultKind::Refused, what) }
    }

    /// Says that a call was not answered in time.
    pub(super) fn silent(seconds: f32, hint: &'static str) -> Self {
        Self { maybe_done: true, ..Self::link(format!("did not answer within {seconds} s")) }.hint(hint)
    }

    /// Says why a connection is broken. Whether a call had arrived by then is for the caller to know.
    pub(super) fn broken(broken: &Broken, advice: &Advice) -> Self {
        match broken {
            Broken::Refused => Self::link("refused the connection: nothing listens there").hint(advice.refused),
            Broken::TooLate => Self::link("could not be connected to in time")
                .hint("is the host up, and does a firewall let the port through?"),
            Broken::NoRoute => Self::link("cannot be reached: there is no route to the host")
                .hint("is the host up and on this network?"),
            Broken::NoSuchName => Self::link("has a host name that cannot be resolved").hint(advice.no_such_name),
            Broken::Closed => Self::link("closed the connection").hint(advice.closed),
            Broken::Expired => Self::refused("shows a certificate that has expired").hint(advice.renew),
            Broken::NotYetValid => Self::refused("shows a certificate that is not valid yet").hint(advice.renew),
            Broken::OtherCa => {
                Self::refused(format!("shows a certificate of a CA {}", advice.other_ca)).hint(advice.which_ca)
            }
            Broken::OtherName => Self::refused("shows a certificate for another name").hint(advice.other_name),
            Broken::ClientExpired => {
                Self::refused("says that the client certificate has expired").hint(advice.of_client)
            }
            Broken::ClientCa => {
                Self::refused("says that it does not know the CA of the client certificate").hint(advice.of_client)
            }
            Broken::ClientRefused => Self::refused("does not accept the client certificate").hint(advice.of_client),
            Broken::Alert(alert) => Self::refused(format!("ended the TLS handshake: {alert}")),
            Broken::NotTls => Self::refused("does not speak TLS").hint(advice.not_tls),
            Broken::Tls(error) => Self::refused(format!("could not be connected to by TLS: {error}")),
        }
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Makes it a fault of a call to a server.
    pub(super) fn into_fault(self, server: &str, call: &str) -> Fault {
        let mut fault = Fault::new(self.kind, format!("{server} {}", self.what)).during(call);
        if !self.seen.is_empty() {
            fault = fault.seen(self.seen);
        }
        if let Some(hint) = self.hint {
            fault = fault.hint(hint);
        }
        fault
    }
}

/// Writes an error and the chain of its causes, from the one given on, on one line; what repeats the one before is left out.
pub(super) fn causes(error: &dyn StdError, mut next: Option<&(dyn StdError + 'static)>) -> String {
    let mut text = error.to_string();
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
