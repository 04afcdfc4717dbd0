"""The profile `kubeadm`: three control planes, each with an etcd member as a static pod."""

import json
import shlex
import shutil
import textwrap

from . import components, network
from .machine import LabError, run, wait_until

API = f"{network.GATEWAY}:6443"
POD_NETWORK = "10.244"
IGNORED = "Swap,SystemVerification,NumCPU,Mem,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables,Port-10250"


def layers(kubernetes, etcd):
    """Returns the directories that a host's root is made of, the upper ones first."""

    def make(directory):
        programs = directory / "usr/bin"
        programs.mkdir(parents=True)
        own = components.kubernetes(kubernetes)
        for source in [own / "kubelet", own / "kubeadm", own / "kubectl", components.crictl() / "crictl"]:
            run("cp", "--preserve=mode", source, programs)
        for source in sorted((components.PINS / "host").rglob("*")):
            target = directory / source.relative_to(components.PINS / "host")
            if source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                run("cp", "--preserve=mode", source, target)

    name = components.fingerprint(components.kubernetes(kubernetes).name, components.crictl().name,
                                  components.PINS / "host")
    return [components.made(f"programs-{kubernetes}-{name}", make), components.root()]


def store(kubernetes, etcd):
    return components.store(kubernetes, etcd)


def baseline_name(layers, kubernetes, etcd):
    names = [layer.name for layer in layers]
    code = components.HERE / "labkit"
    key = components.fingerprint(*names, components.etcd(etcd).name, code / "kubeadm.py", code / "lab.py", code / "host.py")
    return f"baseline-kubeadm-{kubernetes}-{etcd}-{key}"


def prepare(lab, host):
    """Writes the configuration of what runs on a host."""
    number = list(lab.hosts).index(host.name) + 1
    names = components.image_names(lab.record["kubernetes"], lab.record["etcd"])
    routes = [
        f"{POD_NETWORK}.{other + 1}.0/24 via {peer.address}"
        for other, peer in enumerate(lab.hosts.values()) if peer.name != host.name
    ]
    host.write("/etc/lab/host.env", f"LAB_HOST={host.name}\nLAB_ROUTES={shlex.quote(';'.join(routes))}\n")
    # Lowering the score of a process is not permitted everywhere; without the setting no pod starts there.
    host.write("/etc/containerd/config.toml", textwrap.dedent(f"""\
        version = 2
        [plugins."io.containerd.grpc.v1.cri"]
          sandbox_image = "{names['pause']}"
          restrict_oom_score_adj = true
          [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "/usr/lib/cni"
            conf_dir = "/etc/cni/net.d"
        """))
    host.write("/etc/cni/net.d/10-lab.conflist", json.dumps({
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": True,
            "ipam": {
                "type": "host-local", "ranges": [[{"subnet": f"{POD_NETWORK}.{number}.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    }, indent=1))
    host.write("/etc/crictl.yaml", "runtime-endpoint: unix:///run/containerd/containerd.sock\n")
    run("systemctl", f"--root={host.root}", "enable", "ssh", "lab-prepare", "containerd", "kubelet")
    host.write("/etc/default/kubelet", f"KUBELET_EXTRA_ARGS=--node-ip={host.address}\n")


def configuration(lab):
    """Returns what kubeadm is told. Images lie on the machine's disk: where that is nearly full, a kubelet would remove those
    that nothing runs at the moment, and there is no registry to bring them back."""
    kubernetes, etcd = lab.record["kubernetes"], lab.record["etcd"]
    addresses = "".join(f"\n    - {host.address}" for host in lab.hosts.values())
    first = next(iter(lab.hosts.values()))
    return textwrap.dedent(f"""\
        apiVersion: kubeadm.k8s.io/v1beta4
        kind: InitConfiguration
        localAPIEndpoint:
          advertiseAddress: {first.address}
          bindPort: 6443
        nodeRegistration:
          name: {first.name}
          criSocket: unix:///run/containerd/containerd.sock
          taints: []
        ---
        apiVersion: kubeadm.k8s.io/v1beta4
        kind: ClusterConfiguration
        kubernetesVersion: v{components.KUBERNETES[kubernetes]}
        clusterName: lab
        imageRepository: {components.REPOSITORY}
        controlPlaneEndpoint: {API}
        networking:
          podSubnet: {POD_NETWORK}.0.0/16
        apiServer:
          certSANs:
            - {network.GATEWAY}@ADDRESSES@
        etcd:
          local:
            imageRepository: {components.REPOSITORY}
            imageTag: "{components.ETCD[etcd]}"
        ---
        apiVersion: kubelet.config.k8s.io/v1beta1
        kind: KubeletConfiguration
        cgroupDriver: cgroupfs
        failSwapOn: false
        failCgroupV1: false
        imageGCHighThresholdPercent: 100
        evictionHard:
          memory.available: 100Mi
          nodefs.available: 1%
          imagefs.available: 1%
        """).replace("@ADDRESSES@", addresses.replace("\n    -", "\n    -"))


def set_up(lab):
    """Makes the cluster: the first control plane, then the others, then something to lose."""
    first, *others = lab.hosts.values()
    first.ssh("cat >/root/kubeadm.yaml", stdin=configuration(lab))
    first.ssh(f"kubeadm init --config /root/kubeadm.yaml --upload-certs --ignore-preflight-errors={IGNORED} "
              "--skip-phases=addon/kube-proxy,addon/coredns", timeout=400)
    (lab.directory / "admin.conf").write_text(first.ssh("cat /etc/kubernetes/admin.conf").stdout)
    (lab.directory / "admin.conf").chmod(0o600)
    key = first.ssh("kubeadm init phase upload-certs --upload-certs --config /root/kubeadm.yaml").stdout.split()[-1]
    join = first.ssh("kubeadm token create --print-join-command --config /root/kubeadm.yaml", check=False)
    join = join if join.returncode == 0 else first.ssh("kubeadm token create --print-join-command")
    for host in others:
        host.ssh(f"{join.stdout.strip()} --control-plane --certificate-key {key} --node-name {host.name} "
                 f"--apiserver-advertise-address {host.address} --ignore-preflight-errors={IGNORED}", timeout=400)
    kubectl(lab, "taint", "nodes", "--all", "node-role.kubernetes.io/control-plane-", check=False)
    kubectl(lab, "apply", "-f", "-", stdin=(components.PINS / "workloads.yml").read_text())
    wait_until_healthy(lab)


def kubectl(lab, *words, stdin=None, check=True, timeout=60):
    """Runs kubectl on this machine, through the balanced address."""
    program = components.kubernetes(lab.record["kubernetes"]) / "kubectl"
    return run(program, f"--kubeconfig={lab.directory}/admin.conf", *words, stdin=stdin, check=check, timeout=timeout)


def etcdctl(lab, *words, host=None, timeout=30, check=True):
    """Runs etcdctl on this machine, against the members of all hosts or of one."""
    hosts = [host] if host else lab.hosts.values()
    pki = lab.directory / "pki"
    if not pki.exists():
        source = next(one for one in lab.hosts.values() if one.runs())
        pki.mkdir(mode=0o700)
        for name in ("ca.crt", "server.crt", "server.key"):
            (pki / name).write_text(source.ssh(f"cat /etc/kubernetes/pki/etcd/{name}").stdout)
    program = components.etcd(lab.record["etcd"]) / "etcdctl"
    endpoints = ",".join(f"https://{one.address}:2379" for one in hosts)
    return run(program, f"--endpoints={endpoints}", f"--cacert={pki}/ca.crt", f"--cert={pki}/server.crt",
               f"--key={pki}/server.key", *words, timeout=timeout, check=check)


def wait_until_healthy(lab, seconds=240):
    """Waits until every node is ready, every pod runs, and every member of etcd is healthy."""

    def nodes():
        seen = json.loads(kubectl(lab, "get", "nodes", "-o", "json").stdout)["items"]
        ready = [node for node in seen for condition in node["status"]["conditions"]
                 if condition["type"] == "Ready" and condition["status"] == "True"]
        if len(ready) != len(lab.hosts):
            raise LabError(f"{len(ready)} of {len(lab.hosts)} nodes are ready")
        return True

    def pods():
        seen = json.loads(kubectl(lab, "get", "pods", "-A", "-o", "json").stdout)["items"]
        bad = [pod["metadata"]["name"] for pod in seen
               if not all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": False}]))]
        if bad:
            raise LabError(f"not ready: {', '.join(bad)}")
        return bool(seen)

    wait_until("the nodes", seconds, nodes, every=1)
    wait_until("the pods", seconds, pods, every=1)
    wait_until("etcd", seconds, lambda: etcdctl(lab, "endpoint", "health").returncode == 0, every=1)
    wait_until("every API server", seconds, lambda: all(ready(lab, host).returncode == 0 for host in lab.hosts.values()))


def ready(lab, host):
    """Asks the API server of a host whether it is ready."""
    words = ["--request-timeout=5s", f"--server=https://{host.address}:6443", "get", "--raw", "/readyz"]
    return kubectl(lab, *words, check=False, timeout=20)


def quiesce(host):
    """Stops what runs on a host in a way that leaves nothing behind which a boot has to clear away first."""
    host.ssh("systemctl stop kubelet && crictl --timeout=120s rmp -fa", timeout=300)


def clear(host):
    """Takes away what pods left on a host, which is mounted and down."""
    for directory in ("var/lib/kubelet/pods", "var/log/pods", "var/log/containers"):
        shutil.rmtree(host.root / directory, ignore_errors=True)


# For the site file.

PLATFORM = "kubeadm"


def etcd_tls():
    pki = "cp1:/etc/kubernetes/pki/etcd"
    return f'{{ ca: "{pki}/ca.crt", cert: "{pki}/server.crt", key: "{pki}/server.key" }}'


# For a person.

def status(lab):
    """Returns one line for each thing that there is to say; what is as it should be begins with `ok`."""
    lines = []
    for host in lab.hosts.values():
        seen = ready(lab, host)
        lines.append(f"ok   API server of {host.name}" if seen.returncode == 0
                     else f"bad  API server of {host.name}: {(seen.stderr or seen.stdout).strip()[:200]}")
        health = etcdctl(lab, "endpoint", "health", "--command-timeout=5s", host=host, check=False)
        lines.append(f"ok   etcd of {host.name}" if health.returncode == 0
                     else f"bad  etcd of {host.name}: {(health.stderr or health.stdout).strip().splitlines()[-1][:200]}")
    return lines


def collect(lab, host, directory):
    """Writes the logs of a host into a directory, also of one that is down."""
    if host.ssh("true", check=False, timeout=10).returncode == 0:
        for name, command in {
            "journal": "journalctl --no-pager", "kubelet": "journalctl --no-pager -u kubelet",
            "containers": "crictl ps -a",
            "pods": "cd /var/log/pods && find . -name '*.log' -exec tail -n 500 -v {} +",
        }.items():
            done = host.ssh(command, check=False, timeout=60)
            with open(f"{directory}/{host.name}.{name}.log", "w") as file:
                file.write(done.stdout + done.stderr)
    run("cp", host.directory / "console.log", f"{directory}/{host.name}.console.log", check=False)
