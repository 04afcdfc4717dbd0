"""All data are lost, and a snapshot brings them back."""

from labkit.desk import expect
from labkit.machine import wait_until
from labkit.scenario import scenario

from .faults import corrupt, remove_data


def save(desk):
    """Makes a backup between two objects, and returns its file and the revision of what came last."""
    desk.write("before")
    file = desk.directory / "etcd.db"
    desk.run("etcd/snapshot", "--set", f"file={file}")
    return file, write_after(desk)


def write_after(desk):
    """Writes what is to be gone after a restore, and returns its revision."""
    desk.write("after")
    return desk.revision_of("after")


def is_restored(desk, last):
    """Looks from outside: the state of the backup, and a cluster that works. `last`: a revision from after the backup."""
    desk.one_healthy_cluster()
    expect(desk.has("before"), "the object from before the backup is there")
    expect(not desk.has("after"), "the object from after the backup is gone")
    wait_until("writes", 60, lambda: desk.write("again") is None)
    if desk.lab.record["etcd"] != "3.4":  # Debian's 3.4.23 cannot raise revisions
        # Who goes on watching from there has to list anew: those writes never were.
        watched = desk.kubectl("get", "--raw", "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5"
                               f"&resourceVersion={last}", check=False)
        said = watched.stdout + watched.stderr
        expect("410" in said or "too old" in said, f"a watch from before the disaster is refused: {said}")
    for host in desk.lab.hosts.values():
        flagged = host.ssh("grep -rls force-new-cluster /etc/kubernetes/manifests /etc/etcd", check=False).stdout
        expect(not flagged, f"no --force-new-cluster on {host.name}: {flagged}")


def restore(file, *words):
    return ("etcd/restore-all-members", "--set", f"snapshot={file}", *words)


@scenario("kubeadm", "systemd-etcd", smoke=True)
def all_data_are_lost(desk):
    """Every member's data are damaged; requorum is killed in the middle of the restore and resumed."""
    file, last = save(desk)
    corrupt(desk)
    desk.triage_names("etcd/restore-all-members")
    desk.run_killed(*restore(file), kill_at=r"restore@cp2 +started")
    is_restored(desk, last)
    # A cluster that works is not taken back in time by mistake.
    desk.run(*restore(file), code=4)


@scenario("kubeadm", "systemd-etcd")
def a_host_reboots_in_the_middle_of_a_restore(desk):
    """Every member's data are removed; requorum dies and a host reboots when etcd is stopped and what is left is aside."""
    desk.name_identity()
    file, last = save(desk)
    remove_data(desk)
    # On kubeadm the manifest of the first control plane names no other member: it begins a new, empty cluster by itself. Members
    # of systemd begin one together, which looks healthy, and API servers fill it.
    desk.triage_names("etcd/restore-all-members", "--revert")
    desk.run_killed(*restore(file, "--revert"), kill_at=r"set-data-aside@cp2 +done",
                    meanwhile=lambda: desk.reboot(desk.lab.hosts["cp2"]))
    is_restored(desk, last)


@scenario("kubeadm", "systemd-etcd")
def a_host_reboots_in_the_middle_of_a_backup(desk):
    """requorum dies and the host reboots on which a snapshot is being tried out."""
    desk.write("before")
    file, host = desk.directory / "etcd.db", desk.lab.hosts["cp1"]
    desk.run_killed("etcd/snapshot", "--set", f"file={file}", kill_at=r"rehearse@cp1 +started", meanwhile=lambda: desk.reboot(host))
    expect(desk.snapshot_status(file)["totalKey"] > 0, "there is something in the snapshot")
    beside = host.ssh(f"ls -d {desk.lab.profile.data_dir}.* {desk.lab.profile.data_dir}/*rehearsal*", check=False).stdout
    expect(not beside, f"nothing of the rehearsal is left: {beside}")
    desk.one_healthy_cluster()


@scenario("kubeadm", "systemd-etcd")
def a_restore_is_taken_back(desk):
    """A working cluster is restored twice from one snapshot; the second restore is taken back, through a kill."""
    file, _ = save(desk)
    desk.run(*restore(file, "--revert"))
    desk.one_healthy_cluster()
    desk.write("between")
    last = desk.revision_of("between")
    desk.run(*restore(file, "--revert"))
    is_restored(desk, last)
    expect(not desk.has("between"), "what was written after the first restore is gone")
    desk.requorum("rollback", desk.newest_run(), "--yes", kill_at=r"@cp2 +started")
    desk.requorum("resume")
    desk.one_healthy_cluster()
    expect(desk.has("between") and not desk.has("again"), "it is as it was before the second restore")


@scenario("kubeadm")
def one_member_is_restored_and_the_others_join(desk):
    """Every member's data are damaged; one is restored and two join it, through a kill and a reboot in the middle."""
    file, last = save(desk)
    corrupt(desk)
    desk.run_killed("kubeadm/restore-one-member", "--set", f"snapshot={file}", "--set", "host=cp2",
                    kill_at=r"second-set-data-aside@cp1 +(started|already)", meanwhile=lambda: desk.reboot(desk.lab.hosts["cp3"]))
    is_restored(desk, last)
