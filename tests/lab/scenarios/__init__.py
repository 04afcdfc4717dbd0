"""The scenarios of the lab, a module for each kind of cluster."""

from . import backup  # noqa: F401  (they register themselves)
