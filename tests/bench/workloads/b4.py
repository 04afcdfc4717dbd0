"""B4: SIGKILL at random moments, and then resume: what happened twice, what was lost, what is stuck."""

import os
import random
import signal
import subprocess
import time

import measuring
from comparing import say
from measuring import Failed
from sides import Missing, Step
from tables import table

TITLE = "B4: killed at random moments and taken up again"
STEPS = 15
PARALLEL = 4
#: How often one run is killed at most.
KILLS_A_RUN = 5
#: How often, and for how many seconds each time, a run is then left to come to its end; more means that it is stuck.
TRIES = 3
LIMIT = 60
#: Longer than a command that outlives its engine, in seconds.
SETTLE = 0.1
#: The exit status with which requorum asks a person.
ASKS = 6


def run(bench):
    seed = int(os.environ.get("REQUORUM_SEED", random.randrange(2**32)))
    sides = [side for side in [bench.requorum, *bench.peers] if side.resumes]
    rows = []
    for side in sides:
        kills = 5 if bench.quick else 500 if side is bench.requorum else 40
        say(f"  {side.name}: {kills} kills …")
        try:
            rows.append([side.name, *Tally(bench, side, random.Random(seed)).after(kills)])
        except (Failed, Missing) as error:
            say(f"{side.name} is left out: {error}")
    heads = ["side", "kills", "runs", "steps done twice", "lost in runs that ended", "runs that ask", "runs stuck"]
    return (
        f"{STEPS} steps a run, needs and pauses random (`REQUORUM_SEED={seed}`), {PARALLEL} at a time; each leaves a line "
        "in a file of its own. Only the processes of the engine are killed, not the commands. A run is stuck when "
        f"{TRIES} more take-ups of {LIMIT} s at most do not end it.\n\n" + table(heads, rows)
    )


class Tally:
    """Counts what interruptions do to the runs of one side."""

    def __init__(self, bench, side, chance):
        self.bench, self.side, self.chance = bench, side, chance
        self.killed = self.runs = self.twice = self.lost = self.asking = self.stuck = 0

    def after(self, kills):
        """Makes runs until there were so many kills; returns the cells of the table."""
        whole = self.whole_run()
        while self.killed < kills:
            with self.bench.place(self.side) as place:
                self.interrupt(place, whole)
        return [self.killed, self.runs, self.twice, self.lost, self.asking, self.stuck]

    def whole_run(self):
        """How long a run takes that nobody interrupts, in seconds; it has to do every step once."""
        with self.bench.place(self.side) as place:
            cost = measuring.timed(self.side.prepare(place, self.steps(place), PARALLEL))
            if set(effects(place)) != {1}:
                raise Failed(f"uninterrupted, it did its steps {effects(place)} times")
        return cost.wall

    def steps(self, place):
        """Random needs among the three before, and a random pause."""
        steps = []
        for number in range(STEPS):
            needs = [f"s{need}" for need in range(max(0, number - 3), number) if self.chance.random() < 0.5]
            pause = self.chance.randrange(50)
            command = f"echo done >>{place}/s{number}.count; sleep 0.{pause:03}"
            steps.append(Step(f"s{number}", command, needs))
        return steps

    def interrupt(self, place, whole):
        """One run: killed a few times, then left alone until it is done, asks, or is stuck."""
        steps = self.steps(place)
        self.runs += 1
        job = self.side.prepare(place, steps, PARALLEL)
        status = None
        for _ in range(KILLS_A_RUN):
            status = self.part(job, self.chance.uniform(0, whole))
            if status is not None:
                break
            self.killed += 1
            job = self.side.take_up(place, steps, PARALLEL)
        for _ in range(TRIES):
            if status in (0, ASKS):
                break
            status = self.part(job, LIMIT)
            if status != 0:
                job = self.side.take_up(place, steps, PARALLEL)
        time.sleep(SETTLE)
        counts = effects(place)
        self.twice += sum(count > 1 for count in counts)
        self.asking += status == ASKS
        if status == 0:
            self.lost += sum(count == 0 for count in counts)
        elif status != ASKS:
            self.stuck += 1
            said = (place / "said").read_text(errors="replace").strip().splitlines()[-2:]
            say(f"    stuck: {' / '.join(said) or 'it said nothing'}")

    def part(self, job, seconds):
        """Runs a job for so long at most, then kills it. Returns its exit status; `None`: it was killed."""
        process = measuring.start(job)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            for pid in [process.pid, *job.daemons]:
                os.kill(pid, signal.SIGKILL)
            process.wait()
            return None


def effects(place):
    """How often each step happened."""
    files = [place / f"s{number}.count" for number in range(STEPS)]
    return [len(file.read_text().splitlines()) if file.exists() else 0 for file in files]
