"""The second look at a loss of speed that one session suspects.

A session may be slow for reasons that the noise between sessions does not explain, so what a speed
seems to have lost since a stored baseline is a suspicion until a second look agrees. It looks at
once, while the test waits: what the machine does for the whole hour a later look would share as
well, and is in what sessions are known to be off by; what a process keeps for its life is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_dlperf.errors import DuelError
from pytest_dlperf.judge.losses import log_cost
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.hints import measure_in_turn, settle_suspicion
from pytest_dlperf.results.record import Record, with_judged
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_dlperf.config.options import Escalate

Earlier: TypeAlias = "tuple[str, Sequence[Judgement]]"
"""The day of an earlier session, and what it would have been judged."""

_ALONE: Final = "suspected: one session alone does not prove it"

_UNEXPLAINED: Final = math.log(4.0)
"""A machine that is busy or paced otherwise explains a smaller loss, in logarithms, than this."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Looks again, at most once a way and test.

    Attributes:
        policy: `auto` looks at what is suspected, `always` also at what the noise leaves open,
            `never` at nothing.
        duel: measures a test in turn with a commit; returns the records of its measurements.
        again: measures a test in a fresh process, without judging it.
        present: the commit that is measured, with a `+` for uncommitted changes.
    """

    policy: Escalate
    duel: Callable[[str, str], Mapping[str, Record]]
    again: Callable[[str], Mapping[str, Record]]
    present: Callable[[], str]
    _duels: dict[tuple[str, str], Mapping[str, Record] | DuelError] = field(default_factory=dict)
    _again: dict[str, Mapping[str, Record] | DuelError] = field(default_factory=dict)

    def settled(
        self,
        record: Record,
        commit: str,
        judged: Callable[[Record], Sequence[Judgement]],
        earlier: Earlier | None = None,
    ) -> Record:
        """The record after the second look, or with what would settle it.

        Args:
            record: with the verdicts against the baseline.
            commit: the baseline's; empty if it cannot be checked out.
            judged: judges another measurement of the test like this one.
            earlier: the last session of another day; where there is no second look, it counts.
        """
        doubtful = [judgement for judgement in record.judgements if is_doubtful(judgement)]
        if not doubtful:
            return record
        suspected = any(judgement.suspected for judgement in doubtful)
        # From here on, what is left suspected is a loss that one session has proven.
        proven = (replace(j, suspected=j.verdict is Verdict.FAIL) for j in record.judgements)
        record = replace(record, base=commit or record.base, judgements=tuple(proven))
        if self.policy == "never" or not (suspected or self.policy == "always"):
            return _left_open(record, earlier)
        if commit and (self.policy == "always" or commit != self.present()):
            try:
                duel = self._in_turn(record, commit)
            except DuelError as error:
                record = replace(record, hints=(*record.hints, str(error)))
            else:
                return self._after_duel(record, duel, judged)
        if not any(judgement.verdict is Verdict.FAIL for judgement in doubtful):
            return _left_open(record, earlier)
        same_code = bool(commit) and commit == self.present()
        try:
            fresh = self._measured_again(record)
        except DuelError as error:
            record = replace(record, hints=(*record.hints, str(error)))
            return _left_open(record, None if same_code else earlier)
        return _after_another(record, judged(fresh), same_code=same_code)

    def _in_turn(self, record: Record, commit: str) -> Record:
        """The duel's record of the same measurement."""
        # A duel of a test has all of its measurements, so one is enough.
        key = record.measurement.test, commit
        if key not in self._duels:
            self._duels[key] = _tried(lambda: self.duel(*key))
        found = _named(self._duels[key], record.measurement.name)
        doubtful = {one.budget for one in record.judgements if is_doubtful(one)}
        answers = [answer for answer in found.judgements if answer.budget in doubtful]
        alone = next(filter(_without_base, answers), None)
        if alone is not None:  # it has settled nothing
            raise DuelError(f"both commits cannot be measured in turn: {alone.reason}")
        return found

    def _measured_again(self, record: Record) -> Record:
        test = record.measurement.test
        if test not in self._again:
            self._again[test] = _tried(lambda: self.again(test))
        found = _named(self._again[test], record.measurement.name)
        if found.measurement.invalid:
            raise DuelError(f"the second look is INVALID: {found.measurement.invalid}")
        return found

    def _after_duel(
        self, record: Record, duel: Record, judged: Callable[[Record], Sequence[Judgement]]
    ) -> Record:
        answers = {judgement.budget: judgement for judgement in duel.judgements}
        doubtful = [judgement for judgement in record.judgements if is_doubtful(judgement)]
        cleared = {
            judgement.budget
            for judgement in doubtful
            if _is_far(judgement)
            and answers.get(judgement.budget, judgement).verdict is Verdict.PASS
        }
        settled = {one.budget: answers.get(one.budget, one) for one in doubtful}
        was = ", ".join(f"{judgement.metric} {judgement.verdict.value}" for judgement in doubtful)
        notes = [
            f"against the stored baseline: {was}; so both commits were measured in turn",
            *(note for note in duel.measurement.notes if note.startswith("measured in turn")),
        ]
        if cleared:
            settled |= self._outside_of_code(record, cleared, settled, judged)
        return replace(
            record,
            # The metrics of the table are those that the verdicts are about.
            measurement=with_judged(
                _noted(record, *notes).measurement, (answers[b] for b in settled if b in answers)
            ),
            judgements=tuple(settled.get(one.budget, one) for one in record.judgements),
            hints=(),
            base="",
            duel=duel.duel,
        )

    def _outside_of_code(
        self,
        record: Record,
        cleared: set[str],
        settled: Mapping[str, Judgement],
        judged: Callable[[Record], Sequence[Judgement]],
    ) -> dict[str, Judgement]:
        """What lost nothing to its base, and still is far from the stored figure."""
        try:
            fresh = self._measured_again(record)
        except DuelError:
            return {}  # the duel's verdict stands
        changed = {}
        for judgement in judged(fresh):
            if judgement.budget in cleared and _is_far(judgement):
                change = settled[judgement.budget].change
                known = "measured in turn, the commits do not differ by that much"
                ratio = change.value if change else 1.0
                changed[judgement.budget] = _changed_outside(judgement, known, ratio)
        return changed


def _after_another(record: Record, judgements: Sequence[Judgement], *, same_code: bool) -> Record:
    """The record after another measurement in a fresh process, with its judgements."""
    second = {judgement.budget: judgement for judgement in judgements}
    settled, notes = [], []
    for first in record.judgements:
        if not is_doubtful(first) or first.verdict is not Verdict.FAIL:
            settled.append(first)
            continue
        other = second[first.budget]
        notes.append(_both(first, other))
        if other.verdict is not Verdict.FAIL:
            settled.append(_open(other) if other.suspected else other)
        elif same_code:
            settled.append(_changed_outside(first, "the code is that of the baseline"))
        else:
            settled.append(first)
    record = replace(_noted(record, *notes), judgements=tuple(settled))
    return record if same_code else _with_advice(record)


def is_doubtful(judgement: Judgement) -> bool:
    """Whether noise between sessions may explain the verdict."""
    if not metric_named(judgement.metric).is_speed or judgement.baseline is None:
        return False
    is_open = judgement.verdict is Verdict.INCONCLUSIVE and not judgement.lasting
    return is_open or judgement.verdict is Verdict.FAIL


def _is_far(judgement: Judgement) -> bool:
    """Whether a speed is further from the stored one than the machine explains.

    Where the machine kept it from being judged, only a loss by a large factor is.
    """
    if judgement.verdict is not Verdict.INCONCLUSIVE:
        return judgement.verdict is Verdict.FAIL
    if judgement.measured is None or not judgement.baseline:
        return False
    ratio = judgement.measured.value / judgement.baseline
    return log_cost(metric_named(judgement.metric), ratio) >= _UNEXPLAINED


def _tried(look: Callable[[], Mapping[str, Record]]) -> Mapping[str, Record] | DuelError:
    """The records, or why there are none, so that it is not tried again."""
    try:
        return look()
    except DuelError as error:
        return error


def _named(records: Mapping[str, Record] | DuelError, name: str) -> Record:
    if isinstance(records, DuelError):
        raise records.with_traceback(None)
    if name not in records:
        raise DuelError("the second look did not measure the same: the test took another way")
    return records[name]


def _without_base(judgement: Judgement) -> bool:
    """Whether a duel had nothing to compare with."""
    is_open = judgement.verdict is Verdict.INCONCLUSIVE and judgement.lasting
    return judgement.baseline is None and (is_open or judgement.verdict is Verdict.NEW)


def _left_open(record: Record, earlier: Earlier | None) -> Record:
    """Without a second look: no FAIL unless another day agrees, and what settles it."""
    day, before = earlier or ("", ())
    agreed = {one.budget: one for one in before if one.verdict is Verdict.FAIL}
    judgements, notes = [], []
    for judgement in record.judgements:
        failed = is_doubtful(judgement) and judgement.verdict is Verdict.FAIL
        if failed and judgement.budget in agreed:
            notes.append(
                f"{judgement.metric}: {_shown(judgement)} is a loss since the baseline, as was "
                f"{_shown(agreed[judgement.budget])} on {day}"
            )
        elif failed:
            judgement = _open(judgement)  # noqa: PLW2901 - what becomes of it
        judgements.append(judgement)
    return _with_advice(replace(_noted(record, *notes), judgements=tuple(judgements)))


def _open(judgement: Judgement) -> Judgement:
    reason = "; ".join(filter(None, (_ALONE, judgement.reason)))
    return replace(
        judgement, verdict=Verdict.INCONCLUSIVE, reason=reason, suspected=True, fails_at=None
    )


def _with_advice(record: Record) -> Record:
    """With the command that settles what is open."""
    open_ones = [one for one in record.judgements if is_doubtful(one)]
    if not any(one.verdict is Verdict.INCONCLUSIVE for one in open_ones):
        return record
    if record.base:
        return replace(record, hints=(*record.hints, measure_in_turn(record.base)))
    if any(one.suspected for one in open_ones):
        advice = settle_suspicion(record.measurement.test)
        return replace(record, hints=(*record.hints, advice))
    return record


def _noted(record: Record, *notes: str) -> Record:
    measurement = record.measurement
    return replace(record, measurement=replace(measurement, notes=(*measurement.notes, *notes)))


def _shown(judgement: Judgement) -> str:
    unit = metric_named(judgement.metric).unit
    return format_quantity(judgement.measured.value, unit) if judgement.measured else "nothing"


def _both(first: Judgement, second: Judgement) -> str:
    agree = "a loss too" if second.verdict is Verdict.FAIL else "no proven loss"
    return (
        f"{first.metric}: {_shown(first)} is a loss since the baseline; measured again in a fresh "
        f"process, {_shown(second)} is {agree}"
    )


def _changed_outside(judgement: Judgement, known: str, ratio: float | None = None) -> Judgement:
    """A loss since the stored figure that the baseline's own code has as well."""
    unit = metric_named(judgement.metric).unit
    measured, stored = judgement.measured, judgement.baseline
    base = format_quantity(measured.value / (ratio or 1.0), unit) if measured else "nothing"
    then = format_quantity(stored, unit) if stored is not None else "nothing"
    own = "" if ratio is None else f", and {base} by the baseline's code"
    reason = (
        f"{known}, but two sessions are far from the stored {then}: {_shown(judgement)}{own}; "
        "something else has changed: an environment variable, data, software or the machine"
    )
    return replace(
        judgement, verdict=Verdict.INCONCLUSIVE, reason=reason, suspected=True, fails_at=None
    )
