"""The profile `kubeadm`: three control planes, each with an etcd member as a static pod."""

import json
import shlex
import shutil
import textwrap

from . import components, network
from .machine import LabError, run, wait_until
from .profile import Profile

POD_NETWORK = "10.244"
# HTTPProxyCIDR: kubeadm 1.29 writes IPv4 addresses in brackets there, which the Go that it is built with does not take any more.
# ImagePull: it asks for images of kube-proxy and CoreDNS when a host joins, which the lab has none of.
IGNORED = ("Swap,SystemVerification,NumCPU,Mem,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables,Port-10250,HTTPProxyCIDR,"
           "ImagePull")
PKI = "/etc/kubernetes/pki/etcd"


class Kubeadm(Profile):
    """Control planes made by kubeadm, with workloads that run."""

    platform = "kubeadm"
    # What kubeadm tells etcd on its command line, 3.4 does not know.
    etcd_versions = ("3.5", "3.6")
    etcd_tls = {"ca": f"{PKI}/ca.crt", "cert": f"{PKI}/server.crt", "key": f"{PKI}/server.key"}
    data_dir = "/var/lib/etcd"
    boot_unit = "containerd"
    logs = {
        "kubelet": "journalctl --no-pager -u kubelet",
        "containers": "crictl ps -a",
        "pods": "cd /var/log/pods && find . -name '*.log' -exec tail -n 500 -v {} +",
    }

    def layers(self, kubernetes, etcd):
        own = components.kubernetes(kubernetes)
        programs = [own / "kubelet", own / "kubeadm", own / "kubectl", components.crictl() / "crictl"]
        return [components.layer(kubernetes, programs, "kubeadm-host"), components.root()]

    def store(self, kubernetes, etcd):
        return components.store(kubernetes, etcd)

    def prepare(self, lab, host):
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

    def set_up(self, lab):
        """Makes the first control plane, then the others, then something to lose."""
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
        self.kubectl(lab, "taint", "nodes", "--all", "node-role.kubernetes.io/control-plane-", check=False)
        self.kubectl(lab, "apply", "-f", "-", stdin=(components.PINS / "workloads.yml").read_text())
        self.wait_until_healthy(lab)

    def wait_until_healthy(self, lab, seconds=240):
        """Waits until every node is ready and every pod runs, too."""

        def nodes():
            seen = json.loads(self.kubectl(lab, "get", "nodes", "-o", "json").stdout)["items"]
            ready = [node for node in seen for condition in node["status"]["conditions"]
                     if condition["type"] == "Ready" and condition["status"] == "True"]
            if len(ready) != len(lab.hosts):
                raise LabError(f"{len(ready)} of {len(lab.hosts)} nodes are ready")
            return True

        def pods():
            seen = json.loads(self.kubectl(lab, "get", "pods", "-A", "-o", "json").stdout)["items"]
            bad = [pod["metadata"]["name"] for pod in seen
                   if not all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": False}]))]
            if bad:
                raise LabError(f"not ready: {', '.join(bad)}")
            return bool(seen)

        wait_until("the nodes", seconds, nodes, every=1)
        wait_until("the pods", seconds, pods, every=1)
        super().wait_until_healthy(lab, seconds)

    def quiesce(self, host):
        """Stops the pods, so that a boot has none to clear away first."""
        host.ssh("systemctl stop kubelet && crictl --timeout=120s rmp -fa", timeout=300)

    def clear(self, host):
        """Takes away what pods left."""
        for directory in ("var/lib/kubelet/pods", "var/log/pods", "var/log/containers"):
            shutil.rmtree(host.root / directory, ignore_errors=True)


def configuration(lab):
    """Returns what kubeadm is told."""
    release = components.KUBERNETES[lab.record["kubernetes"]]
    addresses = "".join(f"\n    - {host.address}" for host in lab.hosts.values())
    first = next(iter(lab.hosts.values()))
    return textwrap.dedent(f"""\
        apiVersion: kubeadm.k8s.io/{release.kubeadm_api}
        kind: InitConfiguration
        localAPIEndpoint:
          advertiseAddress: {first.address}
          bindPort: {network.API_PORT}
        nodeRegistration:
          name: {first.name}
          criSocket: unix:///run/containerd/containerd.sock
          taints: []
        ---
        apiVersion: kubeadm.k8s.io/{release.kubeadm_api}
        kind: ClusterConfiguration
        kubernetesVersion: v{release.version}
        clusterName: lab
        imageRepository: {components.REPOSITORY}
        controlPlaneEndpoint: {network.API}
        networking:
          podSubnet: {POD_NETWORK}.0.0/16
        apiServer:
          certSANs:
            - {network.GATEWAY}@ADDRESSES@
        etcd:
          local:
            imageRepository: {components.REPOSITORY}
            imageTag: "{components.ETCD[lab.record['etcd']]}"
        ---
        apiVersion: kubelet.config.k8s.io/v1beta1
        kind: KubeletConfiguration
        cgroupDriver: cgroupfs
        failSwapOn: false
        # Images lie on this machine's disk, which may well be fuller than the kubelet likes.
        imageGCHighThresholdPercent: 100
        evictionHard: {{ memory.available: 100Mi, nodefs.available: 10%, nodefs.inodesFree: 5%, imagefs.available: 1Gi }}
        {release.kubelet}
        """).replace("@ADDRESSES@", addresses)
