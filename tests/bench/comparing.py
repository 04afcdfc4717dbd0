"""Lets sides do the same steps in turn, and checks that each really did them."""

import shutil
import statistics
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import measuring
from measuring import Failed
from sides import Missing
from tables import megabytes, number, spread

#: A side that took longer than this at one size, in seconds, takes part in no further round of it.
BUDGET = 60
#: Syncs are counted over so many steps at most: to follow an interpreter with many threads takes minutes.
FOLLOWED = 1000


@dataclass
class Bench:
    """What every workload needs."""

    requorum: object
    floor: object
    peers: list
    work: Path
    quick: bool
    rounds: int | None = None

    def __post_init__(self):
        """Each side is timed this often at each size."""
        self.rounds = self.rounds or (2 if self.quick else 5)

    def named(self, *words):
        """The peers whose names begin with these words, in this order."""
        return [peer for word in words for peer in self.peers if peer.name.startswith(word)]

    @contextmanager
    def place(self, side):
        """An empty directory; afterwards it, and what runs beside the job, are gone."""
        place = Path(tempfile.mkdtemp(dir=self.work))
        try:
            yield place
        finally:
            side.put_away(place)
            shutil.rmtree(place)


@dataclass
class Measured:
    """What was measured of one side with one workload."""

    side: object
    count: int
    costs: list = field(default_factory=list)
    peak: int = 0
    #: A step.
    syncs: float | None = None

    @property
    def walls(self):
        """The wall time of each round, in seconds."""
        return [cost.wall for cost in self.costs]

    @property
    def middle(self):
        """The median of the wall times, in seconds."""
        return statistics.median(self.walls)

    def cells(self, base=None):
        """Cells of a table: time and processor time a step, memory, syncs a step, rounds; the ratio to `base` first."""
        cells = []
        if base:
            pairs = zip(self.walls, base.walls)
            cells.append("1" if self is base else spread([own / other for own, other in pairs]))
        cells.append(spread(self.walls, self.count / 1000))
        cells.append(number(sum(cost.cpu for cost in self.costs) / len(self.costs) / self.count * 1000))
        cells.append(megabytes(self.peak))
        cells.append("" if self.syncs is None else number(self.syncs))
        cells.append(len(self.costs))
        return cells


#: The heads of `Measured.cells`, after the ratio.
HEADS = ["ms a step", "CPU ms a step", "peak MB", "syncs a step", "rounds"]


def compare(bench, sides, steps_of, parallel=1, syncs=True):
    """Measures the sides in turn. `steps_of(command)` makes the steps; each side first does them with a command that leaves
    a line behind, which is counted, and is then timed with `true`."""
    taking_part = []
    for side in sides:
        try:
            taking_part.append(first_run(bench, side, steps_of, parallel, syncs))
        except (Failed, Missing) as error:
            say(f"{side.name} is left out: {error}")
    for _ in range(bench.rounds):
        for measured in taking_part:
            if sum(measured.walls) < BUDGET:
                time_once(bench, measured, steps_of("true"), parallel)
    return [measured for measured in taking_part if measured.costs]


def time_once(bench, measured, steps, parallel):
    """Lets a side do the steps for the time that they take."""
    with bench.place(measured.side) as place:
        try:
            measured.costs.append(measuring.timed(measured.side.prepare(place, steps, parallel)))
        except (Failed, Missing) as error:
            say(f"{measured.side.name} failed in one round: {error}")


def first_run(bench, side, steps_of, parallel, syncs):
    """Lets a side do the steps once for the check and the memory, and once more for the syncs."""
    say(f"  {side.name} …")
    with bench.place(side) as place:
        # The path is whole, as each side has its own idea of where a command begins.
        whole = steps_of(f"echo done >>{place}/effects")
        peak = measuring.watched(side.prepare(place, whole, parallel))
        wanted = sum(step.command is not None for step in whole)
        found = len((place / "effects").read_text().splitlines()) if wanted else 0
        if found != wanted:
            raise Failed(f"it did {found} of {wanted} commands")
    measured = Measured(side, len(whole), peak=peak)
    if syncs:
        with bench.place(side) as place:
            steps = steps_of("true")[:FOLLOWED]
            syncs = measuring.synced(side.prepare(place, steps, parallel))
            measured.syncs = None if syncs is None else syncs / len(steps)
    return measured


def say(text):
    """Tells the person who waits."""
    print(text, file=sys.stderr, flush=True)
