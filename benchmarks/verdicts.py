"""Duels of a small project with itself and with slower variants of it, drawn blind.

    python benchmarks/verdicts.py --folder FOLDER [--aa 300] [--planted 120] ...
    python benchmarks/verdicts.py --report FOLDER

Every session is a fresh `pytest --dlperf-against`; in every third one another process keeps a
processor busy for all the time. What it was given is written down after its
verdict. A run that was ended goes on where it was when it is started with the same folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

from busy import spinning
from live import lines, tables
from live.blind import Counts, Draw
from live.calibration import Calibration
from live.peers import Peers
from live.sessions import finished, session
from live.variants import SAME, Plant, Repository

_SEED: Final = 20
_PEERS_EVERY: Final = 10
_BUSY_EVERY: Final = 3
_DRAWN: Final = ("seed", "same", "planted", "fine")


class Run:
    """A run in a folder.

    Args:
        folder: where everything is kept.
        given: the command line.
    """

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._given = given
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
        self._environment = environment
        self._repository = Repository(folder / "tree")
        self._calibration = Calibration(
            self._repository,
            folder,
            environment,
            launches=given.launches,
            seconds=given.seconds,
        )
        self._peers = Peers(self._repository, folder / "peers", environment)
        self._note_code()
        self._draw = Draw(
            given.seed,
            Counts(given.same, given.planted, given.fine, given.others),
            self._commit,
        )

    def go_on(self) -> None:
        """Run all sessions that are still to be run."""
        done = [one["session"] for one in lines.read(self._folder / "verdicts.jsonl")]
        labelled = {one["session"] for one in lines.read(self._folder / "labels.jsonl")}
        for number in done:
            if number not in labelled:
                self._reveal(number)
        for number in range(max(done, default=-1) + 1, self._draw.sessions):
            self._one(number)

    def _note_code(self) -> None:
        """Which code the sessions run: what a process here imports, their processes do, too."""
        asked = "import pytest_dlperf; print(pytest_dlperf.__file__)"
        command = [sys.executable, "-c", asked]
        code, said = finished(command, self._repository.tree, self._environment)
        if code:
            raise SystemExit(said)
        place = Path(said.strip()).parent
        _, commit = finished(["git", "describe", "--always", "--dirty"], place, self._environment)
        drawn = {name: getattr(self._given, name) for name in _DRAWN}
        for earlier in lines.read(self._folder / "runs.jsonl"):
            before = {name: earlier.get(name, drawn[name]) for name in _DRAWN}
            if before != drawn:
                raise SystemExit(f"this folder was begun with {before}: go on with the same")
        fields = {"code": str(place), "commit": commit.strip(), "python": sys.version.split()[0]}
        lines.append(self._folder / "runs.jsonl", {**fields, **drawn})
        print(f"pytest_dlperf at {commit.strip()}, from {place}", flush=True)

    def _one(self, number: int) -> None:
        commit = self._draw.commit(number)
        test = "test_accuracy.py" if self._draw.accuracy(number) else "test_speed.py"
        options = ("-o", "dlperf_detect=throughput 3%") if self._draw.fine(number) else ()
        busy = number % _BUSY_EVERY == _BUSY_EVERY - 1
        self._repository.show(commit)
        with spinning(1) if busy else contextlib.nullcontext():
            found = session(
                self._repository.tree,
                self._repository.base,
                (test, *options),
                self._folder / "record.json",
                self._environment,
            )
            known = {"session": number, "busy": busy}
            lines.append(self._folder / "verdicts.jsonl", {**known, **found})
            if self._with_peers(number) and test == "test_speed.py":
                judged = self._peers.judge(commit, found["wall_s"])
                lines.append(self._folder / "peers.jsonl", {**known, **judged})
        print(
            f"session {number} of {self._draw.sessions}: {found['verdict']} in "
            f"{found['wall_s']:.0f} s",
            flush=True,
        )
        self._reveal(number)

    def _with_peers(self, number: int) -> bool:
        every: int = self._given.peers_every
        return every > 0 and number % every == 0

    def _reveal(self, number: int) -> None:
        label = self._draw.reveal(number)
        lines.append(self._folder / "labels.jsonl", {"session": number, "label": label})

    def _commit(self, name: str) -> str:
        if name.startswith(SAME):
            return self._calibration.same(name).commit
        return self._calibration.planted(Plant.named(name)).commit


def main() -> None:
    """Run, or print what a run has found so far."""
    # So that a session that is under way is ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="print the tables of this folder")
    parser.add_argument("--folder", type=Path, help="run, or go on, in this folder")
    parser.add_argument(
        "--aa", dest="same", type=int, default=300, help="sessions on unchanged code"
    )
    parser.add_argument("--planted", type=int, default=120, help="sessions on losses of 5 %%")
    parser.add_argument(
        "--fine", type=int, default=30, help="sessions on losses of 3 %% that are to be found"
    )
    parser.add_argument("--others", type=int, default=12, help="sessions on each other loss")
    parser.add_argument("--peers-every", type=int, default=_PEERS_EVERY, help="0: never")
    parser.add_argument(
        "--launches", type=int, default=8, help="pairs of processes of a calibration"
    )
    parser.add_argument(
        "--seconds", type=float, default=12, help="that each of these pairs is measured"
    )
    parser.add_argument("--seed", type=int, default=_SEED, help="of the order of the sessions")
    given = parser.parse_args()
    if given.report:
        tables.report(given.report)
    elif given.folder:
        Run(given.folder.resolve(), given).go_on()
    else:
        parser.error("either --folder or --report is needed")


if __name__ == "__main__":
    main()
