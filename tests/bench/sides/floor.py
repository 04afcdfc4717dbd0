"""The floor: what a step costs when nothing but the promised syncs and the command itself are done."""

from . import Job, Side


class Floor(Side):
    name = "floor"
    durable = "the syncs of requorum's contract, written by a bare loop (`state/examples/floor.rs`); cannot resume"
    has_noop = True

    def __init__(self, binary):
        self.binary = str(binary)

    def prepare(self, place, steps, parallel):
        (place / "files").mkdir()
        commands = {step.command for step in steps}
        # The loop has one command for all its steps.
        command = commands.pop() if len(commands) == 1 else "echo done >>effects"
        act = [] if command is None else [command] if command == "true" else ["sh", "-c", command]
        return Job([self.binary, str(place / "files"), str(len(steps)), str(parallel), *act], place)
