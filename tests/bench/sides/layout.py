"""Steps for the sides that are programs: they read waves of commands from a file."""

import json

from . import topological


def write_waves(place, steps, parallel):
    """Writes `steps.json`: waves of commands, each wave run at most `parallel` at a time."""
    waves = [[step.command for step in wave] for wave in topological(steps)]
    (place / "steps.json").write_text(json.dumps({"parallel": parallel, "waves": waves}))
