//! `kube.approve_csrs`: approves the certificate requests of kubelets, each one looked at.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AttributeTypeAndValue;

use super::kube_object::name;
use crate::action::{Action, Preview};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::transport::kube::{Object, Sort};
use crate::world::{Reader, Writer};

/// `kube.approve_csrs`
pub static APPROVE_CSRS: Kind = Kind {
    name: "kube.approve_csrs",
    summary: "Approves the pending certificate requests of the kubelets of some nodes, each one validated.",
    details: "A request is approved only if its signer is one of `signers`, its subject is `system:node:NAME` of the \
              organization `system:nodes` with NAME among `nodes`, its usages are those of the signer, and it was made by \
              that node, or for a client certificate by one of `requestors`. A client certificate must name no other hosts; \
              the addresses in a serving certificate are not compared. Requests that were decided are left alone, whatever \
              does not fit is left pending and named in the result. None pending is fine. A kubelet asks for its serving \
              certificate only once it has a client certificate: repeat the step until its `verify` holds.",
    seat: Seat::Cluster,
    args: &[
        Arg::required("nodes", Type::List(&Type::Str), "The names of the nodes that may get certificates."),
        Arg::optional(
            "signers",
            Type::List(&Type::Word(&[CLIENT, SERVING])),
            "The signers whose requests are approved; default: both.",
        ),
        Arg::optional(
            "requestors",
            Type::List(&Type::Str),
            "Users that may ask for a node's first client certificate, such as that of a bootstrap token; default: none but \
             the node itself, which renews its own.",
        ),
    ],
    effect: Effect::Idempotent,
    danger: Danger::Disruptive,
    result: &[
        Field { name: "approved", help: "The names of the requests that were approved." },
        Field { name: "left", help: "The pending requests that do not fit: `name` and `why` of each." },
    ],
    source: "Kubernetes documentation, Certificate Signing Requests, Kubernetes signers; OpenShift documentation, recovering \
             from expired control plane certificates",
    example: r#"{ nodes: [cp1, cp2], requestors: ["system:serviceaccount:openshift-machine-config-operator:node-bootstrapper"] }"#,
    make: Make::Action(|args| Ok(Box::new(Approve::from_args(args)?))),
    ..Kind::BLANK
};

/// The signer of the certificates with which kubelets call the API.
const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// The signer of the certificates with which kubelets serve.
const SERVING: &str = "kubernetes.io/kubelet-serving";
/// What the names of node users begin with.
const NODE_USER: &str = "system:node:";
/// The organization of nodes.
const NODES: &str = "system:nodes";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    nodes: Vec<String>,
    #[serde(default = "both")]
    signers: Vec<String>,
    #[serde(default)]
    requestors: Vec<String>,
}

fn both() -> Vec<String> {
    vec![CLIENT.to_owned(), SERVING.to_owned()]
}

/// What a certificate request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Subject {
    common_name: String,
    organizations: Vec<String>,
    /// Whether there are alternative names at all, and whether all of them are DNS names or addresses.
    has_names: bool,
    only_hosts: bool,
}

impl Approve {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let this: Self = args::read(args)?;
        if this.nodes.is_empty() {
            return Err(BadArgs::at("nodes", "it names no node"));
        }
        Ok(this)
    }

    /// Says what keeps a request from being approved.
    fn objection(&self, csr: &Value) -> Option<String> {
        let spec = &csr["spec"];
        let signer = spec["signerName"].as_str().unwrap_or_default();
        let serving = signer == SERVING;
        if !self.signers.iter().any(|one| one == signer) {
            return Some(format!("its signer is `{signer}`"));
        }
        let subject = match subject(spec["request"].as_str().unwrap_or_default()) {
            Ok(subject) => subject,
            Err(why) => return Some(why),
        };
        let Some(node) =
            subject.common_name.strip_prefix(NODE_USER).filter(|node| self.nodes.iter().any(|n| n == node))
        else {
            return Some(format!("it is for `{}`, which is none of the nodes", subject.common_name));
        };
        if subject.organizations != [NODES] {
            return Some(format!("its organization is {:?}, and not {NODES}", subject.organizations));
        }
        let requestor = spec["username"].as_str().unwrap_or_default();
        let by_node = requestor == subject.common_name;
        if !by_node && (serving || !self.requestors.iter().any(|one| one == requestor)) {
            return Some(format!("it was made by `{requestor}`, for the node {node}"));
        }
        if subject.has_names != serving || !subject.only_hosts {
            return Some("its alternative names do not fit its signer".to_owned());
        }
        let usages: Vec<&str> = spec["usages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let purpose = if serving { "server auth" } else { "client auth" };
        let known = ["digital signature", "key encipherment", purpose];
        if !usages.contains(&purpose) || !usages.contains(&known[0]) || usages.iter().any(|one| !known.contains(one)) {
            return Some(format!("its usages are {}", usages.join(", ")));
        }
        None
    }
}

/// Reads what a request in PEM, in base64, asks for.
fn subject(request: &str) -> Result<Subject, String> {
    let bad = || "its certificate request cannot be read".to_owned();
    let pem = STANDARD.decode(request).map_err(|_| bad())?;
    let block = Pem::iter_from_buffer(&pem).next().and_then(Result::ok).ok_or_else(bad)?;
    let (_, csr) = X509CertificationRequest::from_der(&block.contents).map_err(|_| bad())?;
    let info = &csr.certification_request_info;
    let common_name = texts(info.subject.iter_common_name()).concat();
    let organizations = texts(info.subject.iter_organization());
    let mut subject = Subject { common_name, organizations, has_names: false, only_hosts: true };
    for extension in csr.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            subject.has_names |= !names.general_names.is_empty();
            let is_host = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
            subject.only_hosts &= names.general_names.iter().all(is_host);
        }
    }
    Ok(subject)
}

fn texts<'a, 'b: 'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'b>>) -> Vec<String> {
    attributes.filter_map(|one| one.as_str().ok().map(str::to_owned)).collect()
}

/// Says whether nobody has decided about a request yet.
fn is_pending(csr: &Value) -> bool {
    let conditions = csr["status"]["conditions"].as_array();
    !conditions.is_some_and(|all| {
        all.iter().any(|one| ["Approved", "Denied", "Failed"].iter().any(|decided| one["type"] == *decided))
    })
}

/// Adds the approval to a request.
fn approved(mut csr: Value, by: &str) -> Value {
    let approval = json!({
        "type": "Approved", "status": "True", "reason": "ApprovedByRequorum", "message": format!("approved by {by}"),
    });
    match csr["status"]["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(approval),
        None => csr["status"]["conditions"] = json!([approval]),
    }
    csr
}

#[async_trait]
impl Action for Approve {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("kubectl certificate approve   # the pending, valid ones of {}", self.nodes.join(", ")))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let api = writer.kube().await?;
        let sort = Sort::new("certificates.k8s.io/v1", "CertificateSigningRequest");
        let by = format!("{}/{}", writer.attempt().run, writer.attempt().directory());
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for mut csr in api.reader().list(&sort, None, None).await?.into_iter().filter(is_pending) {
            let request = Object { sort: sort.clone(), namespace: None, name: name(&csr).to_owned() };
            if let Some(why) = self.objection(&csr) {
                left.push(json!({ "name": request.name, "why": why }));
                continue;
            }
            // The items of a list do not say what they are.
            csr["apiVersion"] = json!(sort.api_version);
            csr["kind"] = json!(sort.kind);
            api.replace_part(&request, "approval", &approved(csr, &by)).await?;
            done.push(request.name);
        }
        Ok(json!({ "approved": done, "left": left }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn csr(user: &str, names: &[&str], signer: &str, requestor: &str, usages: &[&str]) -> Value {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, NODES);
        params.subject_alt_names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
        let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        json!({
            "metadata": { "name": "csr-1" },
            "spec": { "request": STANDARD.encode(pem), "signerName": signer, "username": requestor, "usages": usages },
        })
    }

    const FOR_CLIENTS: [&str; 3] = ["key encipherment", "digital signature", "client auth"];

    fn objection(csr: &Value) -> Option<String> {
        let args = json!({ "nodes": ["cp1"], "requestors": ["system:bootstrap:abcdef"] });
        Approve::from_args(args).unwrap_or_else(|error| panic!("{error}")).objection(csr)
    }

    #[test]
    fn a_node_gets_what_it_may_have() {
        assert_eq!(objection(&csr("system:node:cp1", &[], CLIENT, "system:bootstrap:abcdef", &FOR_CLIENTS)), None);
        assert_eq!(objection(&csr("system:node:cp1", &[], CLIENT, "system:node:cp1", &FOR_CLIENTS[1..])), None);
        let serving = ["digital signature", "server auth"];
        assert_eq!(objection(&csr("system:node:cp1", &["cp1"], SERVING, "system:node:cp1", &serving)), None);
    }

    #[test]
    fn whatever_does_not_fit_is_left_with_its_reason() {
        let (bootstrap, serving) = ("system:bootstrap:abcdef", ["digital signature", "server auth"]);
        for (csr, words) in [
            (csr("system:node:cp9", &[], CLIENT, bootstrap, &FOR_CLIENTS), "none of the nodes"),
            (csr("admin", &[], CLIENT, bootstrap, &FOR_CLIENTS), "none of the nodes"),
            (csr("system:node:cp1", &[], CLIENT, "mallory", &FOR_CLIENTS), "made by `mallory`"),
            (csr("system:node:cp1", &[], CLIENT, "system:node:cp2", &FOR_CLIENTS), "made by `system:node:cp2`"),
            (csr("system:node:cp1", &["cp1"], SERVING, bootstrap, &serving), "made by"),
            (csr("system:node:cp1", &[], SERVING, "system:node:cp1", &serving), "alternative names"),
            (csr("system:node:cp1", &["api"], CLIENT, bootstrap, &FOR_CLIENTS), "alternative names"),
            (csr("system:node:cp1", &[], CLIENT, bootstrap, &serving), "usages"),
            (csr("system:node:cp1", &[], CLIENT, bootstrap, &["client auth", "cert sign"]), "usages"),
            (csr("system:node:cp1", &[], "example.com/any", bootstrap, &FOR_CLIENTS), "signer"),
            (json!({ "spec": { "signerName": CLIENT, "request": "e30=" } }), "cannot be read"),
        ] {
            let why = objection(&csr).unwrap_or_default();
            assert!(why.contains(words), "{words}: {why}");
        }
    }

    #[test]
    fn only_what_nobody_has_decided_is_pending() {
        assert!(is_pending(&json!({})));
        assert!(!is_pending(&approved(json!({}), "run-1")));
        assert!(!is_pending(&json!({ "status": { "conditions": [{ "type": "Denied" }] } })));
    }
}
