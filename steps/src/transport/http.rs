//! A single GET from this machine to a URL, with the HTTP and TLS of the client for the API of Kubernetes: there is one TLS stack.
//!
//! Nothing is repeated, no redirect is followed and no proxy is asked, so that the answer is that of the very server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::Scheme;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::{Client, Config};
use tokio::time::timeout;

use super::etcd::certificates;
use super::link;
use super::trouble::{self, Advice, Trouble};
use crate::fault::{Fault, FaultKind};
use crate::world::Reader;

/// The largest answer that is read, in bytes.
const LARGEST: usize = 1024 * 1024;

const ADVICE: Advice = Advice {
    refused: "is the server running, and is it the right port?",
    no_such_name: "use an address, or repair DNS",
    closed: "it is restarting, or a balancer in between has no server; or only one of the two sides speaks TLS",
    renew: "renew the server's certificate, and compare the clocks",
    other_ca: "that is not known here",
    which_ca: "give the CA of the server with `ca`",
    other_name: "use a name in the certificate in the URL",
    of_client: "give a client certificate that the server takes, with `cert` and `key`",
    not_tls: "does the URL have https where the server listens with http?",
};

/// The files of TLS, each a path of this machine or `HOST:/path`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files<'a> {
    /// The CA of the server; those of this machine where it is left out.
    pub(crate) ca: Option<&'a str>,
    /// The client's certificate and its key.
    pub(crate) client: Option<(&'a str, &'a str)>,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The body; `None` where it is too large to be read.
    pub(crate) body: Option<Vec<u8>>,
}

/// Says why a text is no URL that can be asked.
pub(crate) fn url(text: &str) -> Result<Uri, &'static str> {
    let url: Uri = text.parse().map_err(|_| "is no URL")?;
    match (url.scheme(), url.authority()) {
        (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => {
            // It is shown, journalled and kept.
            if authority.as_str().contains('@') { Err("holds credentials, which would be shown") } else { Ok(url) }
        }
        _ => Err("does not begin with http:// or https:// and a host"),
    }
}

/// Asks for a URL, within the bound of one call.
pub(crate) async fn get(reader: &Reader<'_>, url: &Uri, files: &Files<'_>) -> Result<Answer, Fault> {
    let settings = &reader.world.settings;
    let fault = |trouble: Trouble| trouble.into_fault(&url.to_string(), "GET");
    let client = client(reader, url, files).await?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).body(kube::client::Body::empty());
    let request = request.map_err(|error| fault(explain(&kube::Error::HttpError(error))))?;
    let exchange = async {
        let (parts, body) = client.send(request).await.map_err(|error| explain(&error))?.into_parts();
        let body = match Limited::new(body, LARGEST).collect().await {
            Ok(body) => Some(body.to_bytes().to_vec()),
            Err(error) if error.is::<LengthLimitError>() => None,
            Err(error) => return Err(explain(&kube::Error::Service(error))),
        };
        Ok(Answer { status: parts.status.as_u16(), body })
    };
    let answered = timeout(settings.call_timeout, exchange).await.unwrap_or_else(|_| {
        Err(Trouble::silent(settings.call_timeout.as_secs_f32(), "it hangs or is overloaded; see its log"))
    });
    answered.map_err(fault)
}

/// Makes a client for the host of a URL. This does not connect: the first call does.
async fn client(reader: &Reader<'_>, url: &Uri, files: &Files<'_>) -> Result<Client, Fault> {
    let unusable =
        |error: &dyn std::fmt::Display| Fault::refused(format!("{url} cannot be asked")).seen(error.to_string());
    let mut root = url.clone().into_parts();
    root.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    let mut config = Config::new(Uri::from_parts(root).map_err(|error| unusable(&error))?);
    if let Some(place) = files.ca {
        config.root_cert = Some(certificates(place, &reader.read(place).await?)?);
    }
    if let Some((cert, key)) = files.client {
        config.auth_info.client_certificate_data = Some(STANDARD.encode(&*reader.read(cert).await?));
        config.auth_info.client_key_data = Some(STANDARD.encode(&*reader.read(key).await?).into());
    }
    config.connect_timeout = Some(reader.world.settings.connect_timeout);
    config.default_retry = false;
    Client::try_from(config).map_err(|error| unusable(&error))
}

fn explain(error: &kube::Error) -> Trouble {
    let mut trouble = link::broken(error).map_or_else(
        || Trouble::new(FaultKind::Unreachable, "could not be spoken to"),
        |broken| Trouble::broken(&broken, &ADVICE),
    );
    trouble.seen = trouble::causes(error, std::error::Error::source(error));
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host_and_no_credentials() {
        assert!(url("https://10.0.0.1:2379/health?serializable=true").is_ok());
        assert!(url("http://[::1]:9090").is_ok());
        for text in ["", "/health", "cp1:2379", "ftp://a/b", "https://", "https://me:pw@a/"] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
