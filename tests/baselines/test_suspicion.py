"""What a stored baseline suspects is looked at again, and the verdict is what both say."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from builders import estimate, make_judgement, make_measurement, make_record

from pytest_dlperf.baselines.suspicion import SecondLook, _is_far
from pytest_dlperf.errors import DuelError
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from pytest_dlperf.config.options import Escalate
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.results.verdict import Judgement

PASS, FAIL, INCONCLUSIVE, INVALID, NEW = Verdict
BASE, HERE = "b" * 40, "a" * 40


def judged(verdict: Verdict, *, suspected: bool = False, value: float = 500.0) -> Judgement:
    """A throughput against the stored 1,000/s."""
    return make_judgement(
        verdict,
        budget="throughput >= baseline",
        baseline=1000.0,
        measured=estimate(value),
        suspected=suspected or verdict is FAIL,
    )


class Looks:
    """Second looks with given results, which are counted.

    Args:
        duel: the verdict in turn; None if it comes to nothing.
        fresh: the judgement of the measurement in a fresh process; None if there is none.
    """

    def __init__(self, duel: Verdict | None = None, fresh: Judgement | None = None) -> None:
        self._duel = duel
        self._fresh = fresh
        self.taken: list[str] = []

    def second(self, policy: Escalate = "auto", present: str = HERE) -> SecondLook:
        """By a policy, at a commit."""
        return SecondLook(policy, self.duel, self.again, lambda: present)

    def duel(self, test: str, commit: str) -> dict[str, Record]:
        """In turn with the commit: nothing was lost, or a half."""
        self.taken.append(f"duel {commit[0]}")
        if self._duel is None:
            raise DuelError(f"no duel of {test}")
        ratio = 0.5 if self._duel is FAIL else 1.0
        judgement = dataclasses.replace(judged(self._duel), change=Estimate(ratio, ratio, ratio))
        measurement = make_measurement(notes=("measured in turn with the base: 9 blocks",))
        return {"": make_record(judgement, measurement=measurement)}

    def again(self, test: str) -> dict[str, Record]:
        """In a fresh process."""
        self.taken.append("again")
        if self._fresh is None:
            raise DuelError(f"no process for {test}")
        return {"": make_record()}

    def verdict(self, *first: Judgement, commit: str = BASE, **how: str) -> tuple[Record, Verdict]:
        """The record after the second look, and the verdict on the first budget."""
        answer = (self._fresh,) if self._fresh is not None else ()
        look = self.second(**how)  # type: ignore[arg-type]  # as spelt in the tests
        record = look.settled(make_record(*first), commit, lambda _: answer)
        return record, record.judgements[0].verdict


@pytest.mark.parametrize("duel", [PASS, FAIL, INCONCLUSIVE])
def test_a_duel_is_the_verdict(duel: Verdict) -> None:
    """Whatever the first look has said; a suspicion short of a FAIL is enough for it."""
    for first in (judged(FAIL), judged(INCONCLUSIVE, suspected=True)):
        looks = Looks(duel, fresh=judged(PASS))
        record, verdict = looks.verdict(first)
        assert verdict is duel
        assert "so both commits were measured in turn" in record.measurement.notes[0]
        assert record.hints == ()


def test_what_is_not_suspected_is_left_open() -> None:
    """The noise hides a loss: no second look, unless it is asked for."""
    looks = Looks(PASS)
    record, verdict = looks.verdict(judged(INCONCLUSIVE))
    assert (verdict, looks.taken) == (INCONCLUSIVE, [])
    assert "--dlperf-against" in record.hints[0]
    assert looks.verdict(judged(INCONCLUSIVE), policy="always")[1] is PASS
    assert looks.verdict(judged(PASS), policy="always")[1] is PASS
    assert looks.taken == ["duel b"]


def test_without_a_commit_a_fresh_process_must_agree() -> None:
    """FAIL is what both say; what the second one clears passes, and the figures are told."""
    both = Looks(fresh=judged(FAIL, value=510.0))
    record, verdict = both.verdict(judged(FAIL), commit="")
    assert verdict is FAIL
    assert "500/s is a loss" in record.measurement.notes[0]
    assert "510/s is a loss too" in record.measurement.notes[0]

    cleared = Looks(fresh=judged(PASS, value=990.0))
    record, verdict = cleared.verdict(judged(FAIL), commit="")
    assert verdict is PASS
    assert "990/s is no proven loss" in record.measurement.notes[0]
    assert (both.taken, cleared.taken) == (["again"], ["again"])


def test_an_undecided_second_look_leaves_a_suspicion() -> None:
    """It is INCONCLUSIVE, says so, and names what settles it."""
    looks = Looks(fresh=judged(INCONCLUSIVE, suspected=True, value=900.0))
    record, verdict = looks.verdict(judged(FAIL), commit="")
    assert verdict is INCONCLUSIVE
    assert record.judgements[0].reason.startswith("suspected: ")
    assert "--dlperf-escalate=auto" in record.hints[-1]


def test_a_second_look_that_comes_to_nothing_is_no_proof() -> None:
    """Neither duel nor process: suspected, with what they said."""
    record, verdict = Looks().verdict(judged(FAIL))
    assert verdict is INCONCLUSIVE
    assert record.judgements[0].suspected
    assert [hint.partition(" of ")[0] for hint in record.hints[:1]] == ["no duel"]
    assert record.hints[1].startswith("no process")


def test_a_duel_that_comes_to_nothing_leaves_it_to_a_process() -> None:
    """As a commit that is not there does."""
    looks = Looks(fresh=judged(FAIL))
    assert looks.verdict(judged(FAIL))[1] is FAIL
    assert looks.taken == ["duel b", "again"]


def test_never_looks_again() -> None:
    """A loss is suspected, and the command that settles it is named."""
    looks = Looks(FAIL, judged(FAIL))
    record, verdict = looks.verdict(judged(FAIL), policy="never")
    assert (verdict, looks.taken) == (INCONCLUSIVE, [])
    assert record.judgements[0].reason.startswith("suspected: ")
    assert "--dlperf-against=bbbbbbbb" in record.hints[-1]


def test_two_days_that_agree_are_proof() -> None:
    """Without a second look, the session of another day is one."""
    second = Looks().second("never")
    for before, verdict in ((FAIL, FAIL), (INCONCLUSIVE, INCONCLUSIVE)):
        earlier = "2026-11-20", (judged(before, value=520.0),)
        record = second.settled(make_record(judged(FAIL)), BASE, lambda _: (), earlier)
        assert record.judgements[0].verdict is verdict
        assert any("520/s on 2026-11-20" in n for n in record.measurement.notes) is (
            verdict is FAIL
        )


def test_what_changed_outside_of_the_code() -> None:
    """The commits do not differ, and both are far from the stored figure: it is told as that."""
    record, verdict = Looks(PASS, judged(FAIL, value=480.0)).verdict(judged(FAIL))
    assert verdict is INCONCLUSIVE
    (reason,) = (one.reason for one in record.judgements)
    for figure in ("480/s", "1,000/s", "an environment variable"):
        assert figure in reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [(100.0, INCONCLUSIVE), (250.0, INCONCLUSIVE), (251.0, PASS), (500.0, PASS), (2000.0, PASS)],
)
def test_no_machine_explains_a_loss_by_a_large_factor(value: float, expected: Verdict) -> None:
    """Where the stored speed could not be judged, a duel clears what a machine may be slower by."""
    here = judged(INCONCLUSIVE, suspected=True, value=value)
    record, verdict = Looks(PASS, here).verdict(here)
    assert verdict is expected
    assert ("something else has changed" in record.judgements[0].reason) is (
        expected is INCONCLUSIVE
    )


def test_a_large_loss_that_a_second_session_does_not_have() -> None:
    """What only one session was far off by was that session's."""
    here = judged(INCONCLUSIVE, suspected=True, value=100.0)
    near = judged(INCONCLUSIVE, suspected=True, value=600.0)
    assert Looks(PASS, near).verdict(here)[1] is PASS


def test_latency_is_far_where_it_is_long() -> None:
    """The direction is the metric's."""
    slow, fast = (
        make_judgement(
            INCONCLUSIVE,
            budget="p50 <= baseline",
            metric="p50",
            baseline=0.002,
            measured=estimate(value),
            suspected=True,
        )
        for value in (0.008, 0.0004)
    )
    assert (_is_far(slow), _is_far(fast)) == (True, False)


def test_the_baselines_own_code_needs_no_duel() -> None:
    """At the baseline's commit the code has lost nothing: a fresh process tells what else has."""
    slower = Looks(PASS, judged(FAIL, value=480.0))
    record, verdict = slower.verdict(judged(FAIL), present=BASE)
    assert (verdict, slower.taken) == (INCONCLUSIVE, ["again"])
    assert "the code is that of the baseline" in record.judgements[0].reason

    passing = Looks(PASS, judged(PASS, value=990.0))
    assert passing.verdict(judged(FAIL), present=BASE)[1] is PASS
    changed = Looks(FAIL)
    assert changed.verdict(judged(FAIL), present=f"{BASE}+")[1] is FAIL
    assert changed.taken == ["duel b"]


def test_it_looks_once_at_a_test() -> None:
    """However many measurements a test has, and where the look came to nothing too."""
    looks = Looks()
    second = looks.second()
    for _ in range(2):
        second.settled(make_record(judged(FAIL)), BASE, lambda _: ())
    assert looks.taken == ["duel b", "again"]


def test_other_verdicts_stay() -> None:
    """Accuracy, memory and absolute budgets are not looked at again."""
    memory = dataclasses.replace(judged(FAIL), metric="peak_memory")
    absolute = make_judgement(FAIL, budget="throughput >= 900/s")
    looks = Looks(PASS)
    record, _ = looks.verdict(memory, absolute)
    assert [one.verdict for one in record.judgements] == [FAIL, FAIL]
    assert looks.taken == []
