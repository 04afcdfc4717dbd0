"""Markdown for the document, and the statistics in it."""

import os
import platform
import re
import statistics
import subprocess
from pathlib import Path


def table(heads, rows):
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def spread(values, unit=1.0):
    """The median with the least and the most, in `unit`."""
    values = [value / unit for value in values]
    middle = statistics.median(values)
    if len(values) == 1:
        return number(middle)
    return f"{number(middle)} ({number(min(values))}–{number(max(values))})"


def number(value):
    """A number with three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if value < 10 else 1}f}"


def megabytes(count):
    """Bytes as MB."""
    return f"{count / 1e6:.0f}"


def machine(directory):
    """The machine and its load, in one line."""
    model = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo"))
    memory = int(re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo")).group(1)) / 1024**2
    system = re.search(r'PRETTY_NAME="(.*)"', read("/etc/os-release"))
    disk = subprocess.run(
        ["stat", "-f", "-c", "%T", str(directory)], capture_output=True, text=True, check=False
    ).stdout.strip()
    load = " ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({model.group(1) if model else 'unknown'}), {memory:.0f} GiB, "
        f"{system.group(1) if system else 'unknown'}, Linux {platform.release()}, {disk or 'unknown'}; load {load}"
    )


def read(path):
    """A text file; empty when it cannot be read."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
