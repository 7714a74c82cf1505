"""Review: which measurements of the history differ from what was accepted, and why to look."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.history.compare import compare_sides
from pytest_dlperf.history.entries import Place
from pytest_dlperf.results.codec import ends_of
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_dlperf.history.compare import Compared
    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.results.baseline import Accepted, AcceptedSession


@dataclass(frozen=True, slots=True)
class Proposal:
    """A measurement that could become the baseline.

    Attributes:
        entry: what a run measured.
        old: what was accepted before; None if nothing was.
        reasons: why it is worth a look, for people; at least one.
        obstacle: why it cannot be accepted; empty if it can.
    """

    entry: Entry
    old: Accepted | None
    reasons: tuple[str, ...]
    obstacle: str = ""

    @property
    def accepted(self) -> Accepted:
        """What becomes the baseline: this session alone, its own anchor unless there is one."""
        found = dataclasses.replace(self.entry.found, earlier=())
        return dataclasses.replace(found, anchor=found.newest, changes=0)


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
    entries: Iterable[Entry], accepted: Mapping[tuple[str, str], Accepted]
) -> tuple[Proposal, ...]:
    """What there is to review.

    Left out are measurements that were accepted already, that are older than what is accepted, and
    those that the noise between sessions explains. The error rate is that of one comparison
    (`history/compare.py`): of reviews in which nothing has changed, 1 % propose a loss.

    Args:
        entries: of one machine class, at most one of each test and name.
        accepted: its baselines, by test and name.
    """
    pairs = [(entry, accepted.get((entry.test, entry.name))) for entry in entries]
    open_pairs = [
        (entry, old) for entry, old in pairs if old is None or not _settled(entry.found, old)
    ]
    known = {_place(entry): (entry, old) for entry, old in open_pairs if old is not None}
    compared = compare_sides(
        {place: old for place, (_, old) in known.items()},
        {place: entry.found for place, (entry, _) in known.items()},
    )
    rows = {one.place: one for one in compared.measurements}
    found = (_proposal(entry, old, rows.get(_place(entry))) for entry, old in open_pairs)
    return tuple(one for one in found if one.reasons)


def _place(entry: Entry) -> Place:
    return Place(entry.test, entry.name, entry.run.machine)


def _settled(found: Accepted, old: Accepted) -> bool:
    """Whether it is one of the sessions already, or older than the newest."""
    if found.revision.date < old.revision.date:
        return True
    identity = _identity(found.newest)
    return found.conditions == old.conditions and any(
        _identity(session) == identity for session in old.sessions
    )


def _identity(session: AcceptedSession) -> tuple[object, ...]:
    """The code, the day and the figures, as files keep them; no two sessions have all the same."""
    figures = {name: ends_of(estimate) for name, estimate in session.metrics.items()}
    return session.revision, figures


def _proposal(entry: Entry, old: Accepted | None, compared: Compared | None) -> Proposal:
    if entry.verdict is Verdict.INVALID:
        reason = "its measuring failed (INVALID), so it says nothing: measure again"
        return Proposal(entry, old, (reason,), "its measuring failed")
    if old is None or compared is None:
        return Proposal(entry, old, ("there is no baseline yet",))
    reasons = []
    if not entry.found.comparable(old):
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
