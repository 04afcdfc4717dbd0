"""All data are lost, and a snapshot brings them back."""

from labkit.desk import expect
from labkit.machine import wait_until
from labkit.scenario import scenario

from .faults import corrupt


def save(desk):
    """Makes a backup between two objects, and returns its file."""
    desk.write("before")
    file = desk.directory / "etcd.db"
    desk.run("etcd/snapshot", "--set", f"file={file}")
    desk.write("after")
    return file


def is_restored(desk):
    """Looks from outside: the state of the backup, and a cluster that works."""
    desk.one_healthy_cluster()
    expect(desk.has("before"), "the object from before the backup is there")
    expect(not desk.has("after"), "the object from after the backup is gone")
    wait_until("writes", 60, lambda: desk.write("again") is None)


def restore(file, *words):
    return ("etcd/restore-all-members", "--set", f"snapshot={file}", *words)


@scenario("kubeadm", "systemd-etcd", smoke=True)
def all_data_are_lost(desk):
    """Every member's data are damaged; requorum is killed in the middle of the restore and resumed."""
    file = save(desk)
    corrupt(desk)
    desk.triage_names("etcd/restore-all-members")
    desk.run_killed(*restore(file), kill_at=r"restore@cp2 +started")
    is_restored(desk)
    # A cluster that works is not taken back in time by mistake.
    desk.run(*restore(file), code=4)


@scenario("kubeadm", "systemd-etcd")
def a_host_reboots_in_the_middle_of_a_restore(desk):
    """requorum dies and a host reboots when etcd is stopped and the old data are aside."""
    file = save(desk)
    corrupt(desk)
    host = desk.lab.hosts["cp2"]
    desk.run_killed(*restore(file), kill_at=r"set-data-aside@cp2 +done", meanwhile=lambda: reboot(desk, host))
    is_restored(desk)


def reboot(desk, host):
    host.kill()
    desk.start(host)
