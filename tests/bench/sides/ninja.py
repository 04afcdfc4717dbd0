"""ninja: a floor for a graph of commands of which nothing is made durable."""

from . import Job, Side

VERSION = "1.13.2"


def build_text(steps):
    """A build file with one edge a step."""
    lines = ["rule run", "  command = $do"]
    for step in steps:
        # Nobody ever makes the output, so every edge is due.
        needs = f" || {' '.join(step.needs)}" if step.needs else ""
        command = (step.command or "true").replace("$", "$$")
        lines += [f"build {step.name}: run{needs}", f"  do = {command}"]
    return "\n".join(lines) + "\n"


class Ninja(Side):
    name = f"ninja {VERSION}"
    durable = "nothing; a log of what it built, unsynced"

    def install(self, cache):
        self.binary = cache.pip("ninja", VERSION) / "ninja"

    def prepare(self, place, steps, parallel):
        (place / "build.ninja").write_text(build_text(steps))
        return Job([str(self.binary), f"-j{parallel}", "--quiet"], place)
