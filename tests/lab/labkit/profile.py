"""What a profile is: how a control plane lies on the hosts of the lab.

A profile says what the hosts are made of and how they become a cluster. What can be done with any such cluster is here. A
profile keeps nothing itself: it is told the lab that it serves.
"""

from abc import ABC, abstractmethod

from . import components, network
from .machine import run, wait_until


class Profile(ABC):
    """The layout of a control plane. All hosts have a member of etcd and an API server."""

    # The platform in a site file.
    platform: str
    # The minor versions of etcd that it can be had with.
    etcd_versions: tuple
    # Where every host has what etcd asks clients for: `ca`, `cert` and `key`.
    etcd_tls: dict
    # The data directory of etcd.
    data_dir: str
    # The services of a site file, as YAML; empty where they are those that the platform has anyhow.
    services: str = ""
    # A host has booted when this unit is active.
    boot_unit: str
    # What `logs` collects from a host beside its journal: names, each with a command.
    logs: dict

    # What a profile is made of.

    @abstractmethod
    def layers(self, kubernetes, etcd):
        """Returns the directories that a host's root is made of, the upper ones first."""

    def store(self, _kubernetes, _etcd):
        """Returns what is in /var/lib/containerd; nothing, where there are no containers."""
        return components.made("store-empty", lambda directory: None)

    @abstractmethod
    def prepare(self, lab, host):
        """Writes the configuration of what runs on a host, which is mounted and down."""

    @abstractmethod
    def set_up(self, lab):
        """Makes a cluster of hosts that have booted, with something in it to lose, and the lab's `admin.conf`."""

    def quiesce(self, host):
        """Stops on a host what a shutdown would leave something of behind."""

    def clear(self, host):
        """Takes away what a host, which is mounted and down, should not begin with."""

    def member_name(self, host):
        """Returns the name of the host's member of etcd."""
        return host.name

    # What can be done with every cluster.

    def baseline_name(self, layers, kubernetes, etcd):
        """Returns the name of the state that hosts begin with, made from everything that it depends on."""
        own = type(self).__module__.split(".")[-1]
        code = [components.HERE / "labkit" / f"{name}.py" for name in (own, "profile", "lab", "host")]
        key = components.fingerprint(*(layer.name for layer in layers), components.KUBERNETES[kubernetes],
                                     components.etcd(etcd).name, components.PINS / "workloads.yml", *code)
        return f"baseline-{self.platform}-{kubernetes}-{etcd}-{key}"

    def kubectl(self, lab, *words, stdin=None, check=True, timeout=60):
        """Runs kubectl on this machine, through the balanced address."""
        program = components.kubernetes(lab.record["kubernetes"]) / "kubectl"
        return run(program, f"--kubeconfig={lab.directory}/admin.conf", *words, stdin=stdin, check=check, timeout=timeout)

    def etcdctl(self, lab, *words, host=None, timeout=30, check=True):
        """Runs etcdctl on this machine, against the members of all hosts or of one."""
        hosts = [host] if host else lab.hosts.values()
        tls = lab.directory / "etcd-tls"
        if not tls.exists():
            source = next(one for one in lab.hosts.values() if one.runs())
            texts = {name: source.ssh(f"cat {path}").stdout for name, path in self.etcd_tls.items()}
            tls.mkdir(mode=0o700)
            for name, text in texts.items():
                (tls / name).write_text(text)
        program = components.etcd(lab.record["etcd"]) / "etcdctl"
        endpoints = ",".join(f"https://{one.address}:2379" for one in hosts)
        return run(program, f"--endpoints={endpoints}", f"--cacert={tls}/ca", f"--cert={tls}/cert", f"--key={tls}/key",
                   *words, timeout=timeout, check=check)

    def ready(self, lab, host):
        """Asks the API server of a host whether it is ready."""
        words = ["--request-timeout=5s", f"--server=https://{host.address}:{network.API_PORT}", "get", "--raw", "/readyz"]
        return self.kubectl(lab, *words, check=False, timeout=20)

    def wait_until_healthy(self, lab, seconds=240):
        """Waits until every member of etcd is healthy and every API server is ready."""
        wait_until("etcd", seconds, lambda: self.etcdctl(lab, "endpoint", "health").returncode == 0, every=1)
        wait_until("every API server", seconds,
                   lambda: all(self.ready(lab, host).returncode == 0 for host in lab.hosts.values()))

    def status(self, lab):
        """Returns one line for each thing that there is to say; what is as it should be begins with `ok`."""
        lines = []
        for host in lab.hosts.values():
            seen = self.ready(lab, host)
            lines.append(f"ok   API server of {host.name}" if seen.returncode == 0
                         else f"bad  API server of {host.name}: {(seen.stderr or seen.stdout).strip()[:200]}")
            health = self.etcdctl(lab, "endpoint", "health", "--command-timeout=5s", host=host, check=False)
            lines.append(f"ok   etcd of {host.name}" if health.returncode == 0
                         else f"bad  etcd of {host.name}: {(health.stderr or health.stdout).strip().splitlines()[-1][:200]}")
        return lines

    def collect(self, host, directory):
        """Writes the logs of a host into a directory, also of one that is down."""
        if host.ssh("true", check=False, timeout=10).returncode == 0:
            for name, command in {"journal": "journalctl --no-pager", **self.logs}.items():
                done = host.ssh(command, check=False, timeout=60)
                with open(f"{directory}/{host.name}.{name}.log", "w") as file:
                    file.write(done.stdout + done.stderr)
        run("cp", host.directory / "console.log", f"{directory}/{host.name}.console.log", check=False)
