"""Installs the programs that requorum is compared with, in a directory outside of the tree, by name and version."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sides import Missing


class Cache:
    """Where the peers are installed; what is there is not installed again."""

    def __init__(self):
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.root = Path(home) / "requorum" / "bench"
        self.root.mkdir(parents=True, exist_ok=True)

    def npm(self, package, version):
        """Returns the directory of an npm package."""
        if not shutil.which("npm"):
            raise Missing("npm is not installed")
        prefix = self.root / f"{package.replace('/', '-').lstrip('@')}-{version}"
        install = ["npm", "install", "--no-audit", "--no-fund", "--prefix"]
        self.made(prefix, lambda place: run([*install, str(place), f"{package}@{version}"]))
        return prefix / "node_modules" / package

    def pip(self, package, version):
        """Returns the directory of programs of a Python package, in an environment of its own."""
        prefix = self.root / f"{package}-{version}"

        def install(place):
            # Programs name the interpreter by its path, so it is made where it stays.
            run([sys.executable, "-m", "venv", str(place)])
            run([str(place / "bin" / "pip"), "install", "--quiet", f"{package}=={version}"])

        self.made(prefix, install)
        return prefix / "bin"

    def made(self, prefix, install):
        """Installs unless an earlier call came to its end."""
        done = prefix / "installed"
        if done.exists():
            return
        shutil.rmtree(prefix, ignore_errors=True)
        print(f"installing {prefix.name} …", file=sys.stderr)
        install(prefix)
        done.touch()


def run(argv):
    """Runs an installer; its last words say why it failed."""
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        said = [line for line in result.stdout.splitlines() if line.strip()]
        raise Missing(f"`{Path(argv[0]).name}` could not install it: {said[-1] if said else 'no reason given'}")
