"""Dagu: workflows in YAML, one binary, state in files."""

import json

from . import Job, Missing, Side

VERSION = "1.30.2"


class Dagu(Side):
    name = f"Dagu {VERSION}"
    durable = "after a step: its output; what became of it is written too, and synced when the run ends; nothing before it"
    resumes = True

    def install(self, cache):
        folder = cache.npm("@dagu-org/dagu-linux-x64", VERSION)
        self.binary = folder / "bin" / "dagu"
        if not self.binary.exists():
            raise Missing("its package holds no program for this machine")

    def prepare(self, place, steps, parallel):
        described = {"name": "bench", "type": "graph", "maxActiveSteps": parallel, "steps": []}
        for step in steps:
            described["steps"].append({"name": step.name, "command": step.command, "depends": step.needs})
        # JSON is YAML.
        (place / "bench.yaml").write_text(json.dumps(described))
        return self.job(place, ["start", "--quiet", "--run-id=bench", "bench.yaml"])

    def take_up(self, place, steps, parallel):
        if list((place / "home").glob("data/dag-runs/**/status.jsonl")):
            return self.job(place, ["retry", "--run-id=bench", "bench.yaml"])
        return self.prepare(place, steps, parallel)

    def job(self, place, argv):
        """A job with a home of its own."""
        return Job([str(self.binary), *argv], place, {"DAGU_HOME": str(place / "home")})
