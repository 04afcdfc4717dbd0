//! The tables of a site.

use requorum_steps::site::{Become, Via};

use super::{Form, HOST_NAME, IDENTIFIER, Key, PLATFORMS, Shape, Table};

/// How commands become root, by the words of a site.
pub(in crate::plan) const ELEVATIONS: [(&str, Become); 2] = [("none", Become::None), ("sudo", Become::Sudo)];
/// The ways to etcd, by the words of a site.
pub(in crate::plan) const VIAS: [(&str, Via); 2] = [("direct", Via::Direct), ("ssh", Via::Ssh)];
/// What manages services, by the words of a site, with the keys that a service then has.
pub(in crate::plan) const MANAGERS: [(&str, &Table); 3] =
    [("systemd", &SYSTEMD), ("static-pod", &STATIC_POD), ("command", &COMMAND)];

/// What is a host name or an IP address, and nothing more: the port is `ssh.port`.
const ADDRESS: Shape = Shape::Form(Form {
    pattern: "^([A-Za-z0-9][A-Za-z0-9._-]*|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(%[A-Za-z0-9._-]+)?)$",
    words: "a host name or an IP address alone",
});
/// The form of a path on a host.
const ABSOLUTE: Shape = Shape::Form(Form { pattern: "^/", words: "an absolute path of the host" });
/// The form of an etcd URL.
const URL: Shape = Shape::Form(Form {
    pattern: "^https?://[^/@ ]+:[0-9]{1,5}/*$",
    words: "http:// or https://, a host and a port, for example https://10.0.0.11:2379",
});
/// The form of a SHA-256 fingerprint, as openssl and others print it.
const FINGERPRINT: Shape =
    Shape::Form(Form { pattern: "^:*([0-9A-Fa-f]:*){64}$", words: "64 hexadecimal digits, with or without colons" });
/// The form of a version of etcd.
const VERSION: Shape =
    Shape::Form(Form { pattern: "^[0-9]+[.][0-9]+$", words: "major.minor in quotes, for example \"3.5\"" });

pub(in crate::plan) static SITE: Table = Table {
    name: "site",
    what: "a site",
    help: "A site of requorum: one cluster, its hosts, and how to reach them.",
    keys: &[
        Key::needed("requorum", Shape::Version, "The version of the language.").like("1"),
        Key::needed(
            "cluster",
            Shape::Form(HOST_NAME),
            "The cluster's name: what --confirm asks for, and what locks and fences are kept under.",
        )
        .like("prod-eu-1"),
        Key::needed(
            "platform",
            Shape::Word(|| PLATFORMS.to_vec()),
            "Plans for this platform and plans for `any` run on it.",
        )
        .like("systemd-etcd"),
        Key::optional("identity", Shape::Table(&IDENTITY), "What identifies the cluster, also across a restore."),
        Key::optional(
            "ssh",
            Shape::Table(&SSH),
            "How SSH reaches the hosts. What is left out comes from your own ssh_config; a host may say it otherwise.",
        )
        .like("{ user: core, become: sudo }"),
        Key::optional(
            "capsule_root",
            ABSOLUTE,
            "Where hosts keep attempts and fences, on a disk that survives a reboot; default /var/lib/requorum.",
        )
        .like("/var/lib/requorum"),
        Key::needed("hosts", Shape::Map(Some(HOST_NAME), &Shape::Table(&HOST)), "The hosts by their names."),
        Key::optional(
            "services",
            Shape::Map(None, &Shape::ByWord("manager", &MANAGERS)),
            "How `service.*` speaks to what it names. A name that is not listed is as the platform has it, else a systemd unit of that name.",
        )
        .like("{ kubelet: { manager: systemd, unit: kubelet.service } }"),
        Key::optional("etcd", Shape::Table(&ETCD), "How etcd is reached."),
        Key::optional("kube", Shape::Table(&KUBE), "How the API of Kubernetes is reached."),
        Key::optional(
            "env",
            Shape::Map(None, &Shape::Text),
            "Exported to commands on hosts; other users there can see it.",
        )
        .like("{ HTTPS_PROXY: \"http://proxy.example.net:3128\" }"),
        Key::optional(
            "secrets",
            Shape::Map(Some(IDENTIFIER), &Shape::OneOf(&SECRET)),
            "Where secrets come from; templates name them as `site.secrets.NAME`.",
        )
        .like("{ backup_key: { env: BACKUP_KEY } }"),
        Key::optional("vars", Shape::Map(None, &Shape::Any), "Your own values; templates read `site.vars.NAME`.")
            .like("{ rack: b }"),
    ],
};

pub(in crate::plan) static IDENTITY: Table = Table {
    name: "identity",
    what: "`identity`",
    help: "What identifies the cluster, also across a restore.",
    keys: &[
        Key::optional(
            "etcd_ca_sha256",
            FINGERPRINT,
            "The SHA-256 fingerprint of the etcd CA, with or without colons: openssl x509 -in ca.crt -noout -fingerprint \
             -sha256. Another CA is exit 4.",
        )
        .like("5f7d0a93214c6e88b1029d44f03bc657a912ee70348bcd19650fd27abe419308"),
        Key::optional(
            "kube_system_uid",
            Shape::Text,
            "The uid of the namespace kube-system: kubectl get namespace kube-system -o jsonpath={.metadata.uid}. Another one is \
             exit 4; an API that cannot be asked is not.",
        )
        .like("6e1f2d0a-3b1c-4c55-9d0e-8f8b0c9a7d11"),
    ],
};

pub(in crate::plan) static SSH: Table = Table {
    name: "ssh",
    what: "`ssh`",
    help: "How SSH reaches a host. What is left out comes from your own ssh_config.",
    keys: &[
        Key::optional("user", Shape::Text, "The user.").like("core"),
        Key::optional("port", Shape::Count(1, 65535), "The port.").like("22"),
        Key::optional("key", Shape::Text, "The private key: a path from the directory of this file, or from `~/`.")
            .like("~/.ssh/id_ed25519"),
        Key::optional("known_hosts", Shape::Text, "The known-hosts file. Unknown and changed keys are refused.")
            .like("./known_hosts"),
        Key::optional("config", Shape::Text, "The ssh_config file to use instead of yours.").like("./ssh_config"),
        Key::optional(
            "become",
            Shape::Word(|| ELEVATIONS.iter().map(|(word, _)| *word).collect()),
            "How commands become root. sudo must not ask for a password.",
        )
        .like("sudo"),
    ],
};

pub(in crate::plan) static HOST: Table = Table {
    name: "host",
    what: "a host",
    help: "A host of the cluster.",
    keys: &[
        Key::needed("address", ADDRESS, "A host name or address that SSH reaches.").like("10.0.0.11"),
        Key::optional("roles", Shape::List(&Shape::Text), "Its roles, for the filter `role` in templates.")
            .like("[control-plane, etcd]"),
        Key::optional("ssh", Shape::Table(&SSH), "How SSH reaches it, where that differs from the site's `ssh`.")
            .like("{ port: 2222 }"),
        Key::optional("capsule_root", ABSOLUTE, "Where it keeps attempts and fences, if not where the others do.")
            .like("/data/requorum"),
        Key::optional("etcd", Shape::Table(&MEMBER), "Its etcd member."),
        Key::optional("lost", Shape::Bool, "true: it is given up, and the filter `role` leaves it out.").like("true"),
        Key::optional("vars", Shape::Map(None, &Shape::Any), "Your own values; templates read `host.vars.NAME`.")
            .like("{ rack: b }"),
    ],
};

pub(in crate::plan) static MEMBER: Table = Table {
    name: "member",
    what: "`etcd` of a host",
    help: "The etcd member of a host, as that etcd really runs: a restore writes it into the new data.",
    keys: &[
        Key::needed("name", Shape::Text, "The member's name, as the member list shows it.").like("cp1"),
        Key::needed("client_urls", Shape::Filled(&URL), "Where clients reach it.").like("[https://10.0.0.11:2379]"),
        Key::needed("peer_urls", Shape::Filled(&URL), "Where the other members reach it.")
            .like("[https://10.0.0.11:2380]"),
        Key::optional("data_dir", ABSOLUTE, "Its data directory; default /var/lib/etcd.").like("/var/lib/etcd"),
        Key::optional("service", Shape::Text, "The service that runs it; default etcd.").like("etcd"),
        Key::optional(
            "bin_dir",
            ABSOLUTE,
            "The directory of etcd, etcdctl and etcdutl; default: of a static pod its image on the host, else the PATH that a command over SSH has.",
        )
        .like("/usr/local/bin"),
    ],
};

const MANAGER: &str = "What manages the service.";

pub(in crate::plan) static SYSTEMD: Table = Table {
    name: "systemd",
    what: "this service",
    help: "A unit of systemd.",
    keys: &[
        Key::needed("manager", Shape::Word(|| vec!["systemd"]), MANAGER),
        Key::needed("unit", Shape::Text, "The unit.").like("etcd.service"),
    ],
};

pub(in crate::plan) static STATIC_POD: Table = Table {
    name: "static-pod",
    what: "this service",
    help: "A static pod of the kubelet.",
    keys: &[
        Key::needed("manager", Shape::Word(|| vec!["static-pod"]), MANAGER),
        Key::needed("manifest", ABSOLUTE, "The path of its manifest on the host.")
            .like("/etc/kubernetes/manifests/etcd.yaml"),
        Key::needed("container", Shape::Text, "The name of its container.").like("etcd"),
    ],
};

pub(in crate::plan) static COMMAND: Table = Table {
    name: "command",
    what: "this service",
    help: "A service with commands of its own.",
    keys: &[
        Key::needed("manager", Shape::Word(|| vec!["command"]), MANAGER),
        Key::needed("start", Shape::Text, "The command that starts it."),
        Key::needed("stop", Shape::Text, "The command that stops it."),
        Key::needed("status", Shape::Text, "The command that ends with 0 if it runs, and with 3 if not."),
    ],
};

pub(in crate::plan) static ETCD: Table = Table {
    name: "etcd",
    what: "`etcd`",
    help: "How etcd is reached.",
    keys: &[
        Key::optional("version", VERSION, "major.minor, in quotes.").like("\"3.5\""),
        Key::optional(
            "via",
            Shape::Word(|| VIAS.iter().map(|(word, _)| *word).collect()),
            "direct: to the client URLs; ssh: forwarded through each member's host. Default: direct.",
        )
        .like("ssh"),
        Key::optional("tls", Shape::Table(&TLS), "The certificates with which requorum speaks to etcd."),
    ],
};

pub(in crate::plan) static TLS: Table = Table {
    name: "tls",
    what: "`tls`",
    help: "Certificates, each a path of this machine, or HOST:/path, which is read over SSH and kept in memory.",
    keys: &[
        Key::needed("ca", Shape::Text, "The certificate of the etcd CA.").like("\"cp1:/etc/etcd/pki/ca.crt\""),
        Key::needed("cert", Shape::Text, "The certificate of a client.").like("\"cp1:/etc/etcd/pki/client.crt\""),
        Key::needed("key", Shape::Text, "The key of that client.").like("\"cp1:/etc/etcd/pki/client.key\""),
        Key::optional("server_name", Shape::Text, "What the members' certificates name, if not what the URLs do."),
    ],
};

pub(in crate::plan) static KUBE: Table = Table {
    name: "kube",
    what: "`kube`",
    help: "How the API of Kubernetes is reached.",
    keys: &[
        Key::optional(
            "kubeconfig",
            Shape::TextOrTexts,
            "The kubeconfig: a path of this machine, or HOST:/path, which is read over SSH and kept in memory; or several, of \
             which the first that can be read is taken. Default: those of the environment variable KUBECONFIG.",
        )
        .like("[\"cp1:/etc/kubernetes/admin.conf\", \"cp2:/etc/kubernetes/admin.conf\"]"),
        Key::optional("context", Shape::Text, "The context in it; default: its current one."),
        Key::optional(
            "port",
            Shape::Count(1, 65535),
            "The port of the API server of each host, where one is asked by itself; default 6443.",
        )
        .like("6443"),
        Key::optional(
            "server_name",
            Shape::Text,
            "What the certificate of an API server names that is asked by itself; default kubernetes.default.svc.",
        ),
    ],
};

pub(in crate::plan) static SECRET: Table = Table {
    name: "secret",
    what: "a secret",
    help: "Where a secret comes from: exactly one of these.",
    keys: &[
        Key::optional("env", Shape::Text, "An environment variable of requorum.").like("BACKUP_KEY"),
        Key::optional("file", Shape::Text, "A file, from the directory of this one.").like("./token"),
        Key::optional("command", Shape::Text, "A command of this machine that prints it.").like("pass show backup"),
    ],
};
