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


def remove_data(desk):
    """Removes the data of every member and cuts etcd off. What starts again by itself then may begin a new, empty cluster."""
    data = desk.lab.profile.data_dir
    for host in desk.lab.hosts.values():
        host.ssh(f"rm -rf {data}/member; for pid in $(cat /proc/[0-9]*/stat | awk '$2 == \"(etcd)\" {{ print $1 }}'); do kill -9 $pid; done")


def serves(desk, name):
    """Says whether the member of a host answers for the cluster."""
    host = desk.lab.hosts[name]
    return desk.etcdctl("endpoint", "health", "--command-timeout=3s", host=host, check=False).returncode == 0


def install_anew(desk, name):
    """Leaves of a control plane what a new machine has: container runtime, kubelet and kubeadm, and nothing of the cluster."""
    host = desk.lab.hosts[name]
    desk.lab.profile.quiesce(host)
    host.ssh("rm -rf /etc/kubernetes /var/lib/etcd; cd /var/lib/kubelet && "
             "awk '$2 ~ \"^/var/lib/kubelet/\" { print $2 }' /proc/mounts | sort -r | xargs -r umount && "
             "rm -rf pki pods plugins config.yaml kubeadm-flags.env *_state checkpoints actuated_pods_state allocated_pods_state")
    wait_until(f"etcd of {name} to be down", 60, lambda: not serves(desk, name))


def let_certificates_expire(desk):
    """Puts certificates that ended years ago in the place of those of etcd and the API server, with the same names and keys, on all
    hosts, and starts what uses them anew."""
    for host in desk.lab.hosts.values():
        host.ssh("sh -s", stdin=EXPIRE, timeout=120)


EXPIRE = """
set -e
cd /etc/kubernetes/pki
work=$(mktemp -d)
: >$work/index
printf '%s\\n' '[ca]' default_ca=ca '[ca]' database=$work/index rand_serial=yes default_md=sha256 policy=any \\
    copy_extensions=copy unique_subject=no new_certs_dir=$work '[any]' organizationName=optional commonName=supplied >$work/conf
expire() {
    openssl x509 -x509toreq -copy_extensions copyall -in $1.crt -signkey $1.key -out $work/req 2>/dev/null
    openssl ca -batch -notext -config $work/conf -cert $2.crt -keyfile $2.key -in $work/req -out $work/crt \\
        -startdate 20200101000000Z -enddate 20210101000000Z 2>/dev/null
    cat $work/crt >$1.crt
}
for name in server peer healthcheck-client; do expire etcd/$name etcd/ca; done
expire apiserver-etcd-client etcd/ca
expire apiserver-kubelet-client ca
expire apiserver ca
# The kubelet's is a certificate and its key in one file.
own=/var/lib/kubelet/pki/kubelet-client-current.pem
cp $own $work/kubelet.crt
cp $own $work/kubelet.key
expire $work/kubelet ca
sed -n '/BEGIN .*PRIVATE KEY/,$p' $own >>$work/kubelet.crt
cat $work/kubelet.crt >$own
rm -r $work
crictl ps --quiet --label io.kubernetes.container.name=etcd | xargs -r crictl stop
crictl ps --quiet --label io.kubernetes.container.name=kube-apiserver | xargs -r crictl stop
"""


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
