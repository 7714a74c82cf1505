"""`pytest-dlperf baselines review`: accept what runs measured, one measurement after the other."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import Command, Outcome
from pytest_dlperf.baselines.acceptance import in_ci
from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.baselines.review_core import of_newest_runs, proposals
from pytest_dlperf.baselines.review_reports import proposal_lines
from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.entries import Query
from pytest_dlperf.history.lookup import Reader, add_history_arguments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from pytest_dlperf.baselines.review_core import Proposal
    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.history.store import History
    from pytest_dlperf.results.baseline import Accepted

_QUESTION: Final = "  [a]ccept, [s]kip, [q]uit? "


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--test", metavar="TEXT", default="", help="only tests whose node id holds this text"
    )
    add_history_arguments(parser)


def _newest(history: History, machine: str, text: str) -> tuple[Entry, ...]:
    """What the newest run of each test measured; at least one measurement."""
    found: list[Entry] = []
    for place in history.places(Query(machine=machine)):
        if text in place.test:
            query = Query(test=place.test, name=place.name, machine=machine, limit=1)
            found += history.entries(query)
    if not found:
        of = f" of a test with {text!r:.80} in its node id" if text else ""
        raise UsageError(
            f"{history.place} has no measurement{of} on this machine class ({machine})",
            "every run of pytest that measures is recorded; or name another one: --machine SLUG",
        )
    found.sort(key=lambda entry: entry.run.began, reverse=True)
    return of_newest_runs(found)


def _lines(entries: Sequence[Entry], files: BaselineFiles) -> Iterator[str]:
    accepted: dict[tuple[str, str], Accepted] = {}
    for test in dict.fromkeys(entry.test for entry in entries):
        baseline = files.load(test)
        if baseline is not None:
            accepted |= {(test, name): one for name, one in baseline.accepted.items()}
    found = proposals(entries, accepted)
    if not found:
        yield f"nothing to review: the baselines explain what was measured last ({len(entries)})"
    elif sys.stdin.isatty():
        yield from _asked(found, files)
    else:
        for number, proposal in enumerate(found, start=1):
            yield from proposal_lines(proposal, number, len(found))
        yield "nothing was changed: there is no terminal to ask on"


def _asked(found: Sequence[Proposal], files: BaselineFiles) -> Iterator[str]:
    """Show one after the other, and do what is answered."""
    done = 0
    for number, proposal in enumerate(found, start=1):
        yield from proposal_lines(proposal, number, len(found))
        if proposal.obstacle:
            continue
        answer = _answer()
        if answer == "q":
            break
        if answer == "a":
            yield f"  {_accept(proposal, files)}"
            done += 1
    yield f"accepted: {done} of {len(found)}"


def _answer() -> str:
    """One of a, s and q; asks until it is one."""
    while True:
        try:
            answer = input(_QUESTION).strip().lower()
        except EOFError:
            sys.stdout.write("\n")
            return "q"
        if answer[:1] in {"a", "s", "q"} and answer in {"accept", "skip", "quit", answer[:1]}:
            return answer[:1]


def _accept(proposal: Proposal, files: BaselineFiles) -> str:
    """Make it the baseline, unless another one was accepted since it was shown."""
    test, name = proposal.entry.test, proposal.entry.name
    now = files.load(test)
    if (now.accepted.get(name) if now else None) != proposal.old:
        raise UsageError(
            f"the baseline of {test} is not what was shown any more",
            "look again: pytest-dlperf baselines review",
        )
    files.save(test, name, proposal.accepted)
    return f"accepted: {files.path(test)}"


def _run(given: argparse.Namespace) -> Outcome:
    from pytest_dlperf.machine import machine_class

    if in_ci(os.environ):
        raise UsageError(
            "baselines are not reviewed in CI: a person decides, and commits the files",
            "run it where the repository is checked out, with the same --history",
        )
    with Reader(given) as reader:
        machine = given.machine or machine_class().slug
        entries = _newest(reader.history, machine, given.test)
    files = BaselineFiles(reader.root / FOLDER, entries[0].run.machine)
    return Outcome(_lines(entries, files))


REVIEW: Final = Command(
    "review",
    "show what was measured last and differs from its baseline, and ask whether to accept it",
    _arguments,
    _run,
)
