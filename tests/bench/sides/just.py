"""just: a floor for a chain of commands of which nothing is made durable."""

from . import Job, Side

VERSION = "1.59.0"


class Just(Side):
    name = f"just {VERSION}"
    durable = "nothing"
    # It goes down a chain of needs by recursion.
    largest = 1000
    is_parallel = False

    def install(self, cache):
        self.binary = cache.pip("rust-just", VERSION) / "just"

    def prepare(self, place, steps, parallel):
        recipes = [f"{step.name}: {' '.join(step.needs)}\n    @{step.command}" for step in steps]
        (place / "justfile").write_text("\n".join(recipes) + "\n")
        return Job([str(self.binary), steps[-1].name], place)
