"""A process that stores sessions, and one that kills such a process again and again.

    python store_writer.py append PLACE COMMIT COUNT    appends when it reads a line
    python store_writer.py kill ROUNDS EARLY PLACE...   places in turn, a share of them killed early

Killing forks, so that a round takes milliseconds: nothing is open, and no thread runs, at a fork.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback

from store_contract import append, appended, numbers, open_shelf

_LATEST = 0.01  # seconds after the first session that a writer lives at the most
_EARLY = 0.06  # seconds after its start that one lives which is killed early
_LOOKED_AT = 20  # of the newest reported sessions; a store keeps 30


def write(place: str, report: int) -> None:
    """Append sessions for ever, and report the number of each."""
    shelf = open_shelf(place)
    for number in appended(shelf):
        os.write(report, b"%d\n" % number)


def killed(place: str, *, early: bool) -> list[int]:
    """What a writer reported before it was killed."""
    read, report = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            write(place, report)
        finally:
            traceback.print_exc()
            os._exit(1)  # it never comes to an end
    os.close(report)
    with os.fdopen(read, "rb") as reports:
        first = b"" if early else reports.readline()
        time.sleep(random.uniform(0, _EARLY if early else _LATEST))  # noqa: S311 - no secret
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(f"the writer ended by itself: {status}")
        return [int(line) for line in (first + reports.read()).splitlines()]


def kill(rounds: int, early: float, places: list[str]) -> None:
    """Kill writers; the answer has all that was reported, and what was missing afterwards."""
    random.seed(0)
    reported: list[int] = []
    missing: list[int] = []
    for number in range(rounds):
        place = places[number % len(places)]
        written = killed(place, early=random.random() < early)  # noqa: S311 - no secret
        shelf = open_shelf(place)
        there = numbers(shelf)
        shelf.close()
        missing += sorted(set(written[-_LOOKED_AT:]) - set(there))
        reported += written
    sys.stdout.write(json.dumps({"reported": reported, "missing": missing}))


def append_after_signal(place: str, commit: str, count: int) -> None:
    """Append sessions, once all writers are ready."""
    shelf = open_shelf(place)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(1, count + 1):
        append(shelf, number, commit)
    shelf.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["append", place, commit, count]:
            append_after_signal(place, commit, int(count))
        case ["kill", rounds, early, *places]:
            kill(int(rounds), float(early), places)
        case arguments:
            raise SystemExit(f"{arguments}: see the top of this file")
