"""The profile `systemd-etcd`: three hosts on which etcd and the Kubernetes control plane are services of systemd.

Names and paths are those of the UK8S procedures: one certificate for all members, /etc/etcd/etcd.conf, and an etcd that runs
as root, since there nobody gives restored data to another user.
"""

import base64
import json
import shutil

from . import components, network
from .machine import LabError, run, wait_until
from .profile import Profile

SSL = "/etc/kubernetes/ssl"
# The clients of the API beside etcd and the API server itself: the subject of each certificate.
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
}
# What the other two services are told beside how they reach the API.
CONTROLLERS = {
    "controller-manager": {
        "root-ca-file": f"{SSL}/ca.pem",
        "service-account-private-key-file": f"{SSL}/apiserver-key.pem",
        "use-service-account-credentials": "true",
    },
    "scheduler": {},
}
# How pods know the API server; whoever asks the one of a certain host knows it by the first of them.
API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
SERVICES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class SystemdEtcd(Profile):
    """A control plane without kubelets: objects live, and no pod runs."""

    platform = "systemd-etcd"
    etcd_versions = ("3.4", "3.5", "3.6")
    etcd_tls = {"ca": f"{SSL}/ca.pem", "cert": f"{SSL}/etcd.pem", "key": f"{SSL}/etcd-key.pem"}
    data_dir = "/var/lib/etcd/default.etcd"
    services = "{ " + ", ".join(f"{name}: {{ manager: systemd, unit: {name}.service }}" for name in SERVICES) + " }"
    boot_unit = "ssh"
    logs = {name: f"journalctl --no-pager -u {name}" for name in SERVICES}

    def layers(self, kubernetes, etcd):
        own, members = components.kubernetes(kubernetes), components.etcd(etcd)
        programs = [own / name for name in (*SERVICES[1:], "kubectl")] + sorted(members.iterdir())
        return [components.layer(f"{kubernetes}-{etcd}", programs, "systemd-etcd-host"), components.root()]

    def prepare(self, lab, host):
        certificates = self.certificates(lab)
        shutil.copytree(certificates, f"{host.root}{SSL}")
        host.write("/root/.kube/config", (lab.directory / "admin.conf").read_text(), mode=0o600)
        for name, flags in CONTROLLERS.items():
            path = f"/etc/kubernetes/{name}.kubeconfig"
            host.write(path, kubeconfig(certificates, name, f"127.0.0.1:{network.API_PORT}"), mode=0o600)
            reach = {flag: path for flag in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")}
            host.write(f"/etc/kubernetes/{name}", arguments({**reach, **flags}))
        host.write("/etc/kubernetes/apiserver", arguments(api_flags(lab, host)))
        host.write("/etc/etcd/etcd.conf", self.etcd_conf(lab, host))
        (host.root / "var/lib/etcd").mkdir(mode=0o700)
        run("systemctl", f"--root={host.root}", "enable", "ssh", *SERVICES)

    def certificates(self, lab):
        """Returns the directory with the certificates of all hosts. The first call makes them, and `admin.conf`."""
        directory = lab.directory / "ssl"
        if not directory.exists():
            addresses = [network.GATEWAY, "127.0.0.1", *(host.address for host in lab.hosts.values())]
            make_certificates(directory, addresses)
            (lab.directory / "admin.conf").write_text(kubeconfig(directory, "admin", network.API))
            (lab.directory / "admin.conf").chmod(0o600)
        return directory

    def set_up(self, lab):
        """Waits for the cluster, which forms by itself, and makes something to lose."""
        self.wait_until_healthy(lab)
        self.kubectl(lab, "apply", "-f", "-", stdin=(components.PINS / "workloads.yml").read_text())
        self.kubectl(lab, "wait", "deployment/office", "--namespace=shop", "--for=jsonpath={.status.replicas}=2")

    def wait_until_healthy(self, lab, seconds=240):
        """Waits until every service is active, too."""

        def services():
            for host in lab.hosts.values():
                seen = host.ssh(f"systemctl is-active {' '.join(SERVICES)}", check=False, timeout=15)
                if seen.returncode != 0:
                    raise LabError(f"{host.name}: {', '.join(SERVICES)} are {', '.join(seen.stdout.split())}")
            return True

        super().wait_until_healthy(lab, seconds)
        wait_until("the services", seconds, services, every=1)

    def member_name(self, host):
        return host.name.replace("cp", "etcd")

    def etcd_conf(self, lab, host):
        """Returns /etc/etcd/etcd.conf."""
        clients, peers = f"https://{host.address}:2379", f"https://{host.address}:2380"
        tls = {"TRUSTED_CA_FILE": "ca.pem", "CERT_FILE": "etcd.pem", "KEY_FILE": "etcd-key.pem"}
        settings = {
            "NAME": self.member_name(host),
            "DATA_DIR": self.data_dir,
            "LISTEN_CLIENT_URLS": f"{clients},https://127.0.0.1:2379",
            "ADVERTISE_CLIENT_URLS": clients,
            "LISTEN_PEER_URLS": peers,
            "INITIAL_ADVERTISE_PEER_URLS": peers,
            "INITIAL_CLUSTER": ",".join(f"{self.member_name(one)}=https://{one.address}:2380" for one in lab.hosts.values()),
            "INITIAL_CLUSTER_TOKEN": "etcd-cluster",
            "INITIAL_CLUSTER_STATE": "new",
            "CLIENT_CERT_AUTH": "true",
            "PEER_CLIENT_CERT_AUTH": "true",
        }
        settings |= {f"{prefix}{name}": f"{SSL}/{file}" for prefix in ("", "PEER_") for name, file in tls.items()}
        return "".join(f'ETCD_{name}="{value}"\n' for name, value in settings.items())


def api_flags(lab, host):
    """Returns the flags of the API server of a host."""
    return {
        "advertise-address": host.address,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": f"{SSL}/ca.pem",
        "etcd-cafile": f"{SSL}/ca.pem",
        "etcd-certfile": f"{SSL}/etcd.pem",
        "etcd-keyfile": f"{SSL}/etcd-key.pem",
        "etcd-servers": ",".join(f"https://{one.address}:2379" for one in lab.hosts.values()),
        # Without them the controller manager and the scheduler complain every few seconds.
        "requestheader-client-ca-file": f"{SSL}/ca.pem",
        "requestheader-allowed-names": "front-proxy",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": f"{SSL}/apiserver.pem",
        "service-account-signing-key-file": f"{SSL}/apiserver-key.pem",
        "service-cluster-ip-range": "10.96.0.0/12",
        "tls-cert-file": f"{SSL}/apiserver.pem",
        "tls-private-key-file": f"{SSL}/apiserver-key.pem",
    }


def arguments(flags):
    """Returns the environment file of a service."""
    return 'ARGUMENTS="' + " ".join(f"--{name}={value}" for name, value in flags.items()) + '"\n'


def make_certificates(directory, addresses):
    """Makes an authority and the certificates that it signs, which are good for all addresses."""
    directory.mkdir(mode=0o700)
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]
    run(*new, "-subj", "/CN=lab", "-keyout", "ca-key.pem", "-out", "ca.pem", cwd=directory)
    names = ",".join([*(f"IP:{address}" for address in addresses), *(f"DNS:{name}" for name in API_NAMES)])
    for name, subject in {"etcd": "/CN=etcd", "apiserver": "/CN=kube-apiserver", **CLIENTS}.items():
        run(*new, "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-extensions", "usr_cert", "-addext", f"subjectAltName={names}",
            "-subj", subject, "-keyout", f"{name}-key.pem", "-out", f"{name}.pem", cwd=directory)


def kubeconfig(directory, name, server):
    """Returns how a client reaches the API, with its certificate in it."""

    def read(file):
        return base64.b64encode((directory / file).read_bytes()).decode()

    cluster = {"server": f"https://{server}", "certificate-authority-data": read("ca.pem")}
    user = {"client-certificate-data": read(f"{name}.pem"), "client-key-data": read(f"{name}-key.pem")}
    return json.dumps({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        "current-context": "lab",
    }, indent=1)
