"""All benchmarks as one report.

python bench/run.py [--quick] [--only PART]
"""

import argparse
import os
import platform
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

PARTS = ("commands", "engine", "events")
"""Modules beside this one, whose `report(quick)` gives lines.

Commands come first, and each part is imported when its turn comes: the memory of a process that has loaded Numba would count as
that of the commands it starts.
"""


def main(words: Sequence[str] | None = None) -> None:
    """Print each part's lines as they come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out what takes longest")
    parser.add_argument("--only", choices=PARTS, help="run one part")
    given = parser.parse_args(words)
    versions = ", ".join(f"{name} {version(name)}" for name in ("prsm-scale", "numba", "numpy"))
    print(f"{versions}, Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} processors")
    for part in PARTS:
        if given.only in (None, part):
            print(f"\n# {part}\n")
            for line in import_module(part).report(given.quick):
                print(line, flush=True)


if __name__ == "__main__":
    main()
