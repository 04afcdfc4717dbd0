"""B6: compiling a large plan, and taking up a large run of which one step is left."""

import shutil
import signal
import time

import measuring
from comparing import Measured, say
from measuring import Failed
from sides import Step
from sides.requorum import plan_text
from tables import megabytes, spread, table

TITLE = "B6: compiling large plans, and taking large runs up"
#: How long a run may take to come to its last step, in seconds.
PATIENCE = 900


def run(bench):
    sizes = [1000] if bench.quick else [1000, 10_000, 100_000]
    rows = []
    for size in sizes:
        say(f"{size} steps")
        rows += [[size, what, *cells(measured)] for what, measured in compiled(bench, size)]
        rows.append([size, "`requorum resume`, one step left", *cells(resumed(bench, size))])
    return table(["steps", "what", "seconds", "CPU seconds", "peak MB", "rounds"], rows)


def cells(measured):
    """The figures of a row: here of the whole, not of a step."""
    cpu = [cost.cpu for cost in measured.costs]
    return [spread(measured.walls), spread(cpu), megabytes(measured.peak), len(measured.costs)]


def compiled(bench, size):
    """Measures `requorum check`, and beside it `ninja -n` on the same graph: it reads, stats and orders."""
    # A tree: each step needs one before it. ninja goes down a chain by recursion, so it is no chain.
    steps = [Step(f"s{at}", "true", [f"s{at // 2}"] if at else []) for at in range(size)]
    with bench.place(bench.requorum) as place:
        bench.requorum.prepare(place, steps, 1)
        jobs = [("`requorum check`", bench.requorum, bench.requorum.job(place, ["check", "plan.yaml"]))]
        for ninja in bench.named("ninja"):
            dry = ninja.prepare(place, steps, 1)
            dry.argv.append("-n")
            jobs.append((f"`ninja -n` ({ninja.name})", ninja, dry))
        found = [(what, Measured(side, size, peak=measuring.watched(job)), job) for what, side, job in jobs]
        for _ in range(bench.rounds):
            for _, measured, job in found:
                measured.costs.append(measuring.timed(job))
    return [(what, measured) for what, measured, _ in found]


def resumed(bench, size):
    """Measures `requorum resume` of a run whose steps are done but for the last, whose command has ended meanwhile."""
    with bench.place(bench.requorum) as place:
        state, kept = place / "state", place / "kept"
        cut_off(bench, place, size)
        state.rename(kept)
        job = bench.requorum.job(place, ["resume"])
        measured = Measured(bench.requorum, size)
        for number in range(bench.rounds + 1):
            shutil.copytree(kept, state)
            if number == 0:
                measured.peak = measuring.watched(job)
            else:
                measured.costs.append(measuring.timed(job))
            shutil.rmtree(state)
        if (place / "effects").read_text() != "done\n":
            raise Failed("the last step was not done once")
    return measured


def cut_off(bench, place, size):
    """Makes a run and kills it in its last step. When this returns the command of that step has ended."""
    steps = [Step(f"s{at}", None, []) for at in range(size - 1)]
    last = f"until [ -e {place}/go ]; do sleep 0.05; done; echo done >>{place}/effects"
    steps.append(Step("last", last, [step.name for step in steps]))
    process = measuring.start(bench.requorum.prepare(place, steps, 8))
    try:
        until(lambda: list(place.glob("state/runs/*/capsules/**/start")), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (place / "go").touch()
    until(lambda: list(place.glob("state/runs/*/capsules/**/status")))


def until(holds, process=None):
    """Waits until something holds; a process that ends first is a failure."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > ends or (process and process.poll() is not None):
            raise Failed("the run did not come to its last step")
        time.sleep(0.05)
