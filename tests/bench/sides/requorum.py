"""requorum: the binary of this tree."""

import json
import subprocess

from . import Job, Side


def quoted(text):
    """Text as YAML takes it: JSON is YAML."""
    return json.dumps(text)


def plan_text(steps):
    """A plan of these steps. A step that does nothing is `wait.for` with 0 s: an intent that is synced, and a result."""
    lines = ["requorum: 1", "name: bench/steps", "title: Steps of a benchmark", "platforms: [any]", "steps:"]
    for step in steps:
        lines.append(f"  - id: {step.name}")
        if step.needs:
            lines.append(f"    needs: [{', '.join(step.needs)}]")
        if step.command is None:
            lines.append("    wait.for: { duration: 0s }")
        else:
            lines.append(f"    command.run: {{ run: {quoted(step.command)} }}")
    return "\n".join(lines) + "\n"


class Requorum(Side):
    name = "requorum"
    durable = (
        "before a command: its intent in the journal, then the attempt's directory with command and start record; "
        "after it: its exit status. All synced; output kept"
    )
    resumes = True
    has_noop = True

    def __init__(self, binary):
        self.binary = str(binary)

    def prepare(self, place, steps, parallel):
        (place / "plan.yaml").write_text(plan_text(steps))
        (place / "site.yaml").write_text("requorum: 1\ncluster: bench\nplatform: any\nhosts: {}\n")
        argv = ["run", "plan.yaml", "-i", "site.yaml", "--yes", "--parallel", str(parallel)]
        return self.job(place, argv)

    def take_up(self, place, steps, parallel):
        listed = self.job(place, ["runs", "list", "-o", "json"])
        runs = json.loads(subprocess.run(listed.argv, cwd=place, check=True, capture_output=True).stdout)
        begun = [run["state"] for run in runs if run["state"] != "never began"]
        if not begun:
            return self.prepare(place, steps, parallel)
        if set(begun) == {"done"}:
            # It was killed after its end.
            return listed
        return self.job(place, ["resume", "--parallel", str(parallel)])

    def job(self, place, argv):
        """A job on the state directory of this place."""
        return Job([self.binary, "--state-dir", str(place / "state"), *argv], place)
