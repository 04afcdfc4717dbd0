"""B3: steps that do nothing and are remembered: what the bookkeeping itself costs."""

from comparing import HEADS, compare, say
from sides import Step
from tables import number, table

TITLE = "B3: durable steps that do nothing"


def run(bench):
    count = 200 if bench.quick else 10_000
    sides = [side for side in [bench.floor, bench.requorum, *bench.peers] if side.has_noop and side.largest >= count]
    shapes = [
        ("one after the other", 1, lambda at: [f"s{at - 1}"] if at else []),
        ("8 at a time", 8, lambda at: []),
    ]
    rows = []
    for shape, parallel, needs in shapes:
        say(shape)
        steps = [Step(f"s{at}", None, needs(at)) for at in range(count)]
        for measured in compare(bench, sides, lambda _: steps, parallel):
            rows.append([shape, measured.side.name, number(count / measured.middle), *measured.cells()])
    return f"{count} steps.\n\n" + table(["shape", "side", "steps a second", *HEADS], rows)
