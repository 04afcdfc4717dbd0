"""What scenarios break."""

from labkit.machine import wait_until


def corrupt(desk, *hosts):
    """Cuts etcd off in the middle of its work on some hosts and leaves its log and its database unreadable."""
    data = desk.lab.profile.data_dir
    for name in hosts or desk.lab.hosts:
        # The shell writes first, so that what is started again at once finds the damage.
        desk.lab.hosts[name].ssh(
            f"for file in {data}/member/wal/*.wal {data}/member/snap/db; do head -c 4096 /dev/urandom | "
            "dd of=$file conv=notrunc status=none; done; "
            "for pid in $(cat /proc/[0-9]*/stat | awk '$2 == \"(etcd)\" { print $1 }'); do kill -9 $pid; done")
        wait_until(f"etcd of {name} to be down", 60, lambda name=name: not serves(desk, name))


def serves(desk, name):
    """Says whether the member of a host answers for the cluster."""
    host = desk.lab.hosts[name]
    return desk.etcdctl("endpoint", "health", "--command-timeout=3s", host=host, check=False).returncode == 0


def reinstall(desk, *hosts):
    """Leaves nothing of etcd and of the control plane on hosts but their address, as a new system has it, and switches them
    off and on. What `bring_control_plane_back` gives back waits in /root."""
    services = "etcd kube-apiserver kube-controller-manager kube-scheduler"
    for host in hosts:
        host.ssh(f"systemctl disable -q {services}; systemctl kill -s KILL {services}; systemctl stop {services}; "
                 "mv /etc/kubernetes /root/; rm -rf /etc/etcd /var/lib/etcd /var/lib/requorum /usr/bin/etcd /usr/bin/etcdctl "
                 "/usr/bin/etcdutl /usr/lib/systemd/system/etcd.service; systemctl daemon-reload; sync")
        host.kill()
        desk.start(host)


def bring_control_plane_back(*hosts):
    """Does what is no business of etcd's plans: API server, controller manager and scheduler of reinstalled hosts."""
    for host in hosts:
        host.ssh("cp -rn /root/kubernetes/. /etc/kubernetes/; systemctl enable -q --now kube-apiserver kube-controller-manager "
                 "kube-scheduler")
