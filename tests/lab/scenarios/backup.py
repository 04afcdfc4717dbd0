"""A backup of a healthy cluster."""

from labkit.desk import expect
from labkit.scenario import scenario


@scenario("kubeadm", "systemd-etcd", smoke=True)
def snapshot_survives_a_kill(desk):
    """requorum is killed while the snapshot is on its way, and a second process finishes it."""
    desk.write("before")
    ended = desk.run_killed("etcd/snapshot", "--set", f"file={desk.directory}/etcd.db", "--set", "rehearse=false",
                            kill_at=r"save +started")
    expect("done" in ended.stderr, "the run is done")
    expect((desk.directory / "etcd.db").stat().st_size > 1 << 20, "there is a snapshot")
    desk.one_healthy_cluster()
