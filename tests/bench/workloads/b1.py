"""B1: a chain of commands, each of which needs the one before."""

from comparing import HEADS, compare, say
from sides import Step
from tables import number, table

TITLE = "B1: a chain of `true`, one command after the other"


def chain(count, command):
    """Steps in a row."""
    return [Step(f"s{number}", command, [f"s{number - 1}"] if number else []) for number in range(count)]


def run(bench):
    sizes = [20, 50] if bench.quick else [20, 200, 1000]
    sides = [bench.floor, bench.requorum, *bench.peers]
    rows, medians = [], {}
    for size in sizes:
        say(f"{size} steps")
        # Syncs a step are the same at every size; tracing is slow.
        able = [side for side in sides if size <= side.largest]
        found = compare(bench, able, lambda command: chain(size, command), syncs=size == sizes[1])
        for measured in found:
            rows.append([size, measured.side.name, *measured.cells(found[0])])
            medians.setdefault(measured.side.name, {})[size] = measured.middle
    further = [[name, *further_step(by_size, sizes)] for name, by_size in medians.items()]
    return (
        table(["steps", "side", "x floor", *HEADS], rows)
        + "\nWhat a further step costs, with the time to start left out, in ms:\n\n"
        + table(["side", *(f"{low} to {high}" for low, high in zip(sizes, sizes[1:]))], further)
    )


def further_step(by_size, sizes):
    """The time between two sizes, for each step that one has more."""
    for low, high in zip(sizes, sizes[1:]):
        both = low in by_size and high in by_size
        yield number((by_size[high] - by_size[low]) / (high - low) * 1000) if both else ""
