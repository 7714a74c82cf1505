"""`pytest-dlperf baselines review`: what runs measured and differs from its baseline."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import Command, CommandResult
from pytest_dlperf.baselines.acceptance import in_ci
from pytest_dlperf.baselines.diff import change_lines
from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.compare import COMPARED, compare_sides, is_compared
from pytest_dlperf.history.entries import Query
from pytest_dlperf.history.lookup import Reader, add_history_arguments
from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.report.hints import REVIEW_COMMAND
from pytest_dlperf.report.tables import wrap_message
from pytest_dlperf.results.codec import ends_of
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_dlperf.history.comparison import Compared
    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.history.store import History
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.baseline_session import BaselineSession


_QUESTION: Final = "  [a]ccept, [s]kip, [q]uit? "


@dataclass(frozen=True, slots=True)
class Proposal:
    """A measurement that could become the baseline.

    Attributes:
        entry: of the history.
        old: the present baseline, if there is one.
        reasons: why it is worth a look; at least one.
        obstacle: why it cannot be accepted; empty if it can.
    """

    entry: Entry
    old: BaselineEntry | None
    reasons: tuple[str, ...]
    obstacle: str = ""

    @property
    def accepted(self) -> BaselineEntry:
        """The new baseline: this session alone, as its own anchor."""
        result = self.entry.result
        return dataclasses.replace(result, sessions=(result.newest,)).anchored()


def of_newest_runs(newest_first: Iterable[Entry]) -> tuple[Entry, ...]:
    """The measurements of the newest run of each test, in the order of tests and names."""
    run_by_test: dict[str, str] = {}
    kept = [
        entry
        for entry in newest_first
        if run_by_test.setdefault(entry.test, entry.run.key) == entry.run.key
    ]
    return tuple(sorted(kept, key=lambda entry: (entry.test, entry.name)))


def proposals(
    entries: Iterable[Entry], accepted: Mapping[tuple[str, str], BaselineEntry]
) -> tuple[Proposal, ...]:
    """The measurements worth a review: of one machine class, at most one of each test and name.

    Left out are those that were accepted already, are older than the baseline, or differ only by
    the noise between sessions. The error rate is that of one comparison (`history/compare.py`): of
    reviews in which nothing has changed, 1 % propose a loss.
    """
    pairs = [(entry, accepted.get((entry.test, entry.name))) for entry in entries]
    open_pairs = [
        (entry, old) for entry, old in pairs if old is None or not _settled(entry.result, old)
    ]
    known = {entry.key: (entry, old) for entry, old in open_pairs if old is not None}
    compared = compare_sides(
        {key: old for key, (_, old) in known.items()},
        {key: entry.result for key, (entry, _) in known.items()},
        noise={key: entry.noise for key, (entry, _) in known.items() if entry.noise},
    )
    rows = {measurement.key: measurement for measurement in compared.measurements}
    proposed = (_proposal(entry, old, rows.get(entry.key)) for entry, old in open_pairs)
    return tuple(proposal for proposal in proposed if proposal.reasons)


def _settled(new: BaselineEntry, old: BaselineEntry) -> bool:
    """Whether it is one of the baseline's sessions already, or older than the newest."""
    if new.revision.date < old.revision.date:
        return True
    identity = _identity(new.newest)
    return new.conditions == old.conditions and any(
        _identity(session) == identity for session in old.sessions
    )


def _identity(session: BaselineSession) -> tuple[object, ...]:
    """Revision and rounded metrics, which no two sessions share."""
    figures = {name: ends_of(estimate) for name, estimate in session.metrics.items()}
    return session.revision, figures


def _proposal(entry: Entry, old: BaselineEntry | None, compared: Compared | None) -> Proposal:
    if entry.verdict is Verdict.INVALID:
        reason = "its measuring failed (INVALID), so it says nothing: measure again"
        return Proposal(entry, old, (reason,), "its measuring failed")
    if old is None or compared is None:
        return Proposal(entry, old, ("there is no baseline yet",))
    reasons = []
    if not entry.result.comparable(old):
        reasons.append("it was measured under other conditions")
    worse = [row.metric for row in compared.rows if row.verdict is Verdict.FAIL]
    better = [row.metric for row in compared.rows if row.improved]
    if worse:
        reasons.append(f"worse beyond the noise: {', '.join(worse)}")
    if better:
        reasons.append(f"better beyond the noise: {', '.join(better)}")
    if entry.verdict is Verdict.FAIL:
        reasons.append(
            "its test failed: if a budget is broken that does not depend on the baseline, such as "
            "'p99 <= 20ms', it will fail with a new one too"
        )
    return Proposal(entry, old, tuple(reasons))


def proposal_lines(proposal: Proposal, number: int, count: int) -> Iterator[str]:
    """The revisions, the verdict, the reasons, and the metrics before and after.

    `number` is that of the proposal, from 1 to `count`.
    """
    entry, old = proposal.entry, proposal.old
    yield f"{number} of {count}: {title_of(entry.test, entry.name)}"
    yield f"  measured: {entry.result.revision}, {entry.verdict.value}"
    if old is not None:
        several = f", {len(old.sessions)} sessions" if len(old.sessions) > 1 else ""
        yield f"  baseline: {old.revision}{several}"
    for reason in proposal.reasons:
        yield from (f"  {line}" for line in wrap_message(reason))
    result = entry.result
    lines = change_lines(old, result, COMPARED) if old else metric_lines(result, is_compared)
    for text in lines:
        yield from (f"    {line}" for line in wrap_message(text))


def metric_lines(entry: BaselineEntry, shown: Callable[[str], bool]) -> list[str]:
    """The newest session's values of the metrics that are shown, by name."""
    return [
        f"{name} {format_quantity(entry.metrics[name].value, metric_named(name).unit)}"
        for name in in_order(entry.metrics)
        if shown(name)
    ]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--test", metavar="TEXT", default="", help="only tests whose node id holds this text"
    )
    add_history_arguments(parser)


def _newest(history: History, machine: str, text: str) -> tuple[Entry, ...]:
    """The measurements of the newest run of each test; at least one."""
    entries: list[Entry] = []
    for key in history.measurements(Query(machine=machine)):
        if text in key.test:
            query = Query(test=key.test, name=key.name, machine=machine, limit=1)
            entries += history.entries(query)
    if not entries:
        of = f" of a test with {text!r:.80} in its node id" if text else ""
        raise UsageError(
            f"{history.place} has no measurement{of} on this machine class ({machine})",
            "every run of pytest that measures is recorded; or name another one: --machine SLUG",
        )
    entries.sort(key=lambda entry: entry.run.began, reverse=True)
    return of_newest_runs(entries)


def _lines(entries: Sequence[Entry], files: BaselineFiles) -> Iterator[str]:
    accepted: dict[tuple[str, str], BaselineEntry] = {}
    for test in dict.fromkeys(entry.test for entry in entries):
        baseline = files.load(test)
        if baseline is not None:
            accepted |= {(test, name): entry for name, entry in baseline.accepted.items()}
    proposed = proposals(entries, accepted)
    if not proposed:
        yield f"nothing to review: the baselines explain what was measured last ({len(entries)})"
    elif sys.stdin.isatty():
        yield from _ask(proposed, files)
    else:
        for number, proposal in enumerate(proposed, start=1):
            yield from proposal_lines(proposal, number, len(proposed))
        yield "nothing was changed: there is no terminal to ask on"


def _ask(proposed: Sequence[Proposal], files: BaselineFiles) -> Iterator[str]:
    """Show one proposal after the other, and act on the answer."""
    done = 0
    for number, proposal in enumerate(proposed, start=1):
        yield from proposal_lines(proposal, number, len(proposed))
        if proposal.obstacle:
            continue
        answer = _answer()
        if answer == "q":
            break
        if answer == "a":
            yield f"  {_accept(proposal, files)}"
            done += 1
    yield f"accepted: {done} of {len(proposed)}"


def _answer() -> str:
    """a, s or q; asks until the answer is one of them."""
    while True:
        try:
            answer = input(_QUESTION).strip().lower()
        except EOFError:
            sys.stdout.write("\n")
            return "q"
        if answer[:1] in {"a", "s", "q"} and answer in {"accept", "skip", "quit", answer[:1]}:
            return answer[:1]


def _accept(proposal: Proposal, files: BaselineFiles) -> str:
    """Write the baseline, unless another one was accepted since the proposal was shown."""
    test, name = proposal.entry.test, proposal.entry.name
    now = files.load(test)
    if (now.accepted.get(name) if now else None) != proposal.old:
        raise UsageError(
            f"the baseline of {test} is not what was shown any more",
            f"look again: {REVIEW_COMMAND}",
        )
    files.save(test, name, proposal.accepted)
    return f"accepted: {files.path(test)}"


def _run(given: argparse.Namespace) -> CommandResult:
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
    return CommandResult(_lines(entries, files))


REVIEW: Final = Command(
    "review",
    "show what was measured last and differs from its baseline, and ask whether to accept it",
    _arguments,
    _run,
)
