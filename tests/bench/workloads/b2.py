"""B2: commands that need nothing of each other, eight at a time."""

from comparing import HEADS, compare
from sides import Step
from tables import table

TITLE = "B2: `true` side by side, 8 at a time"
PARALLEL = 8


def run(bench):
    count = 50 if bench.quick else 1000
    sides = [side for side in [bench.floor, bench.requorum, *bench.peers] if side.is_parallel]
    steps_of = lambda command: [Step(f"s{number}", command, []) for number in range(count)]
    found = compare(bench, sides, steps_of, PARALLEL)
    rows = [[measured.side.name, *measured.cells(found[0])] for measured in found]
    return f"{count} commands.\n\n" + table(["side", "x floor", *HEADS], rows)
