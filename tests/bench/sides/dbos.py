"""DBOS: durable execution as a Python library, here on SQLite."""

from pathlib import Path

from . import Job, Side
from .layout import write_waves

VERSION = "3.4.0"
PROGRAM = Path(__file__).parent.parent / "programs" / "dbos_steps.py"


class Dbos(Side):
    name = f"DBOS {VERSION}, SQLite"
    durable = "after a step: its result, in a synced SQLite transaction; nothing before it"
    resumes = True
    has_noop = True

    def install(self, cache):
        self.python = cache.pip("dbos", VERSION) / "python"

    def prepare(self, place, steps, parallel):
        write_waves(place, steps, parallel)
        return Job([str(self.python), str(PROGRAM), str(place / "steps.json")], place)

    take_up = prepare
