"""The scenarios of the lab, a module for each sort of loss."""

from . import kubeadm, members, quorum, restore, uk8s  # noqa: F401  (they register themselves)
