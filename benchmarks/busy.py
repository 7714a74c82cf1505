"""Runs a command several times beside processes that spin, and ends with the first failure.

python benchmarks/busy.py --times 3 --spinning 2 -- make test
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def spin() -> None:
    """Keep a processor busy until the process is ended."""
    while True:
        pass


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keep so many processors busy."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def main() -> int:
    """Run the command; returns the status of the first run that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--spinning", type=int, default=2)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    with spinning(given.spinning):
        for number in range(1, given.times + 1):
            began = time.monotonic()
            status = subprocess.run(given.command, check=False).returncode  # noqa: S603 - the caller's own
            took = time.monotonic() - began
            print(f"run {number} of {given.times}: status {status} after {took:.0f} s", flush=True)
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
