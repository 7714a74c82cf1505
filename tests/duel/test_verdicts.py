"""Duel: the judgements on a candidate that was measured in turn with its base."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, REVISION, estimate, make_accepted, make_measurement, make_rows
from fakes import FakeClock, FakeProgress

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.questions import NOTHING, BudgetOutcome, DuelSettings, DuelStatistics
from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
from pytest_dlperf.duel.verdicts import (
    Base,
    compare,
    course_note,
    judge_duel,
    judge_rows,
    with_slots,
)
from pytest_dlperf.judge.contrasts import lost_on_rows
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.measure.slots import Slot
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.e_process import FARTHEST
from pytest_dlperf.statistics.estimate import Estimate, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.duel.verdicts import Result
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.row_evidence import Rows
    from pytest_dlperf.results.verdict import Judgement
    from pytest_dlperf.statistics.estimate import Decision

THROUGHPUT = "throughput >= 0.95 * baseline"
P99 = "p99 <= baseline"
ACCURACY = "accuracy >= baseline"
RATES = ErrorRates(1)
METRICS = {"throughput": estimate(1000.0), "p99": estimate(0.02), "errors": counted(0.0)}


def answer(
    decision: Decision | None,
    loss: float = 0.0,
    reach: float = 0.01,
    **fields: Any,  # noqa: ANN401 - any field
) -> BudgetOutcome:
    """What a contest said."""
    given: dict[str, Any] = {"visible": 0.04, "reason": ""}
    return BudgetOutcome(
        decision, Estimate(loss, loss - reach, loss + reach), **{**given, **fields}
    )


def judged(
    text: str,
    said: BudgetOutcome | None,
    *,
    base: dict[str, Any] | None = None,
    **fields: Any,  # noqa: ANN401 - any field
) -> Judgement:
    """One budget, judged."""
    (judgement,) = judge_duel(
        make_measurement(METRICS, **fields),
        make_accepted(METRICS, **(base or {})),
        [parse_budget(text)],
        {} if said is None else {text: said},
    )
    return judgement


@pytest.mark.parametrize(
    ("decision", "verdict"),
    [("FAIL", Verdict.FAIL), ("PASS", Verdict.PASS), (None, Verdict.INCONCLUSIVE)],
)
def test_the_verdict_is_what_the_contest_decided(
    decision: Decision | None, verdict: Verdict
) -> None:
    """Whatever the openings measured: here they are equal."""
    assert judged(THROUGHPUT, answer(decision, 0.1)).verdict is verdict


def test_change_of_a_rate() -> None:
    """A log loss of 0.1 is 0.905 of the base's throughput, with the interval's ends in order."""
    found = judged(THROUGHPUT, answer("FAIL", 0.1, 0.02))

    assert found.change is not None
    assert found.change.value == pytest.approx(math.exp(-0.1))
    assert found.change.low == pytest.approx(math.exp(-0.12))
    assert found.change.high == pytest.approx(math.exp(-0.08))
    assert found.measured is not None
    assert found.measured.value == pytest.approx(1000 * math.exp(-0.1))
    assert (found.baseline, found.limit) == (1000.0, 950.0)
    assert not found.improved


def test_change_of_a_latency() -> None:
    """A log loss of 0.1 is 1.105 times the base's latency."""
    found = judged(P99, answer("FAIL", 0.1, 0.02))

    assert found.change is not None
    assert found.change.value == pytest.approx(math.exp(0.1))
    assert found.change.low == pytest.approx(math.exp(0.08))
    assert found.measured is not None
    assert found.measured.high == pytest.approx(0.02 * math.exp(0.12))
    assert found.limit == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("decision", "loss", "improved"),
    [("PASS", -0.1, True), ("PASS", 0.0, False), ("FAIL", -0.1, False), (None, -0.1, False)],
)
def test_improved(decision: Decision | None, loss: float, improved: bool) -> None:  # noqa: FBT001 - a case
    """A PASS whose whole interval is a gain, and nothing else."""
    assert judged(THROUGHPUT, answer(decision, loss, 0.02)).improved is improved


def test_an_open_question_says_what_could_have_been_seen() -> None:
    """The value at which it would have failed, in the metric's own unit, and a reason."""
    slower = judged(THROUGHPUT, answer(None, visible=0.08))
    later = judged(P99, answer(None, visible=0.08, reason="there was no time"))

    assert slower.fails_at == pytest.approx(1000 * math.exp(-0.08))
    assert slower.reason == "the noise hides a loss of this size"
    assert later.fails_at == pytest.approx(0.02 * math.exp(0.08))
    assert later.reason == "there was no time"


@pytest.mark.parametrize("decision", ["FAIL", "PASS"])
def test_what_is_decided_needs_no_such_value(decision: Decision) -> None:
    """No smallest visible change, and only the contest's reason."""
    found = judged(THROUGHPUT, answer(decision, reason="confirmed on 4 fresh pairs"))

    assert found.fails_at is None
    assert found.reason == "confirmed on 4 fresh pairs"
    assert judged(THROUGHPUT, answer(decision)).reason == ""


def test_no_change_could_have_been_seen() -> None:
    """A loss beyond all bounds is no number to print."""
    assert judged(THROUGHPUT, answer(None, visible=FARTHEST)).fails_at is None


def test_a_base_without_the_value() -> None:
    """A percentile that its opening was too short for: the ratio is known, its value is not."""
    text = "p99.9 <= 1.1 * baseline"
    found = make_measurement({**METRICS, "p99.9": estimate(0.05)})

    (judgement,) = judge_duel(
        found, make_accepted(METRICS), [parse_budget(text)], {text: answer("FAIL", 0.3)}
    )

    assert judgement.verdict is Verdict.FAIL
    assert judgement.baseline is judgement.limit is judgement.fails_at is None
    assert judgement.measured == estimate(0.05)
    assert judgement.change is not None
    assert judgement.change.value == pytest.approx(math.exp(0.3))


def test_the_revision_is_the_bases() -> None:
    """People see which commit it was measured against."""
    assert judged(THROUGHPUT, answer("PASS")).revision == "01234567, 2026-11-23"


def test_absolute_budgets_are_judged_on_the_candidate() -> None:
    """By its own load, whatever the base had."""
    found = make_measurement({**METRICS, "p99": estimate(0.03)})
    budgets = [parse_budget("p99 <= 25ms"), parse_budget("throughput >= 900/s")]

    verdicts = [one.verdict for one in judge_duel(found, make_accepted(METRICS), budgets, {})]

    assert verdicts == [Verdict.FAIL, Verdict.PASS]


def test_new_where_the_base_has_none() -> None:
    """A metric that slots do not decide, and that the base did not measure."""
    found = make_measurement({**METRICS, "peak_memory": estimate(1e9)})

    (judgement,) = judge_duel(
        found, make_accepted(METRICS), [parse_budget("peak_memory <= baseline")], {}
    )

    assert judgement.verdict is Verdict.NEW


@pytest.mark.parametrize(("memory", "verdict"), [(1.0e9, Verdict.PASS), (2e9, Verdict.FAIL)])
def test_what_slots_do_not_decide_is_judged_as_against_a_baseline(
    memory: float, verdict: Verdict
) -> None:
    """Peak memory, say: by the openings' intervals and the prior for the noise of runs."""
    found = make_measurement({**METRICS, "peak_memory": estimate(memory)})
    base = make_accepted({**METRICS, "peak_memory": estimate(1e9)})

    (judgement,) = judge_duel(found, base, [parse_budget("peak_memory <= 1.3 * baseline")], {})

    assert judgement.verdict is verdict
    assert judgement.change is None


def test_invalid_where_a_call_never_returned() -> None:
    """A load that was cut short says nothing, whatever slots said."""
    found = judged(THROUGHPUT, answer("PASS"), hung="a call had not returned after 1 s")

    assert found.verdict is Verdict.INVALID
    assert "cut short" in found.reason


def test_another_scenario_is_not_compared() -> None:
    """INCONCLUSIVE, with both; an absolute budget is judged all the same."""
    relative = judged(THROUGHPUT, None, base={"scenario": "Offline()"})
    absolute = judged("throughput >= 900/s", None, base={"scenario": "Offline()"})

    assert relative.verdict is Verdict.INCONCLUSIVE
    assert "Offline()" in relative.reason
    assert "ClosedLoop" in relative.reason
    assert absolute.verdict is Verdict.PASS


def test_another_serving_or_software_is_what_is_compared() -> None:
    """A commit may batch otherwise, or bring another TensorFlow: that is no obstacle."""
    base = {
        "serving": "Serving(max_batch_size=1)",
        "environment": dataclasses.replace(ENVIRONMENT, tensorflow="2.17.0"),
    }

    assert judged(THROUGHPUT, answer("FAIL", 0.1), base=base).verdict is Verdict.FAIL
    assert judged("p99 <= 2 * baseline", None, base=base).verdict is Verdict.PASS


def test_budgets_keep_their_order() -> None:
    """Answered or not."""
    texts = [P99, "throughput >= 900/s", THROUGHPUT]
    found = judge_duel(
        make_measurement(METRICS),
        make_accepted(METRICS),
        [parse_budget(text) for text in texts],
        {THROUGHPUT: answer("FAIL"), P99: answer("PASS")},
    )

    assert [one.budget for one in found] == texts
    assert [one.verdict for one in found] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]


def with_rows(rows: Rows | None) -> Measurement:
    """A measurement with these rows."""
    metrics = {"throughput": estimate(1000.0)}
    if rows is not None:
        metrics["accuracy"] = estimate(float(rows.right.mean()))
    return make_measurement(metrics, rows=rows)


def rows_that_lose(lost: int, won: int, rows: int = 1000) -> tuple[Measurement, Measurement]:
    """The candidate and its base, of which each has some rows right alone."""
    base = [1] * lost + [0] * won + [1] * (rows - lost - won)
    found = [0] * lost + [1] * won + [1] * (rows - lost - won)
    return with_rows(make_rows(found)), with_rows(make_rows(base))


@pytest.mark.parametrize(
    ("lost", "won", "decision"),
    [(60, 5, "FAIL"), (0, 0, "PASS"), (1, 1, "PASS"), (12, 6, None), (0, 60, "PASS")],
)
def test_accuracy_is_decided_row_by_row(lost: int, won: int, decision: Decision | None) -> None:
    """A clear loss, none, hardly any, too few rows to tell, and a gain."""
    found, base = rows_that_lose(lost, won)

    answers, _ = judge_rows(found, base, [parse_budget(ACCURACY)], RATES)

    assert answers[ACCURACY].decision == decision
    assert answers[ACCURACY].loss.value == pytest.approx((lost - won) / 1000)


def test_a_loss_that_is_allowed() -> None:
    """3 points are lost: a budget that allows ten of them passes, one that allows none fails."""
    found, base = rows_that_lose(30, 0)
    none, ten = parse_budget(ACCURACY), parse_budget("accuracy >= baseline - 10pt")

    answers, _ = judge_rows(found, base, [none, ten], RATES)

    assert answers[none.text].decision == "FAIL"
    assert answers[ten.text].decision == "PASS"


def test_who_did_not_answer_the_same_rows() -> None:
    """Other data, no labels, or no row in common: nothing is said of accuracy."""
    some = with_rows(make_rows([1, 1, 0]))
    for other in (
        with_rows(make_rows([1, 1, 0], data="other")),
        with_rows(make_rows([1, 1])),
        with_rows(make_rows([0, 0, 0], answered=[0, 0, 0])),
        with_rows(None),
    ):
        for one, two in ((some, other), (other, some)):
            assert lost_on_rows(metric_named("accuracy"), one, two) is None
            assert judge_rows(one, two, [parse_budget(ACCURACY)], RATES) == ({}, ())


def test_the_same_rows_right_is_no_loss_at_all() -> None:
    """Without an interval to wonder about."""
    found, base = rows_that_lose(0, 0)

    assert lost_on_rows(metric_named("accuracy"), found, base) == counted(0.0)


def test_only_relative_budgets_on_accuracy_are_answered() -> None:
    """Absolute ones, other metrics, and equality are judged elsewhere."""
    found, base = rows_that_lose(60, 5)
    budgets = [parse_budget(t) for t in ("accuracy >= 97%", THROUGHPUT, "accuracy == baseline")]

    assert judge_rows(found, base, budgets, RATES) == ({}, ())


def test_a_failed_accuracy_is_in_doubt() -> None:
    """It has to be confirmed; what passed or is open, or is no accuracy, does not."""
    found, base = rows_that_lose(60, 5)
    budgets = [parse_budget(t) for t in (THROUGHPUT, ACCURACY, "accuracy >= baseline - 20pt")]

    _, (doubt,) = judge_rows(found, base, budgets, RATES)

    assert doubt.budget.text == ACCURACY
    assert doubt.limits == LossLimits(0.0, 0.01)
    assert doubt.loss.value == pytest.approx(0.055)


def test_the_judgement_on_accuracy() -> None:
    """Its change is in points: the difference, not a ratio; measured is the candidate's share."""
    found, base = rows_that_lose(60, 5)
    budget = parse_budget(ACCURACY)
    accepted = make_accepted(base.metrics, rows=base.rows)

    answers, _ = judge_rows(found, base, [budget], RATES)
    (judgement,) = judge_duel(found, accepted, [budget], answers)

    assert judgement.verdict is Verdict.FAIL
    assert judgement.change is not None
    assert judgement.change.value == pytest.approx(-0.055)
    assert judgement.measured == found["accuracy"]
    assert judgement.baseline == judgement.limit == pytest.approx(0.995)


def test_an_open_accuracy_says_at_which_share_it_fails() -> None:
    """In shares of one, below the base's."""
    found, base = rows_that_lose(12, 6)
    budget = parse_budget(ACCURACY)
    answers, _ = judge_rows(found, base, [budget], RATES)

    (judgement,) = judge_duel(found, make_accepted(base.metrics, rows=base.rows), [budget], answers)

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.fails_at == pytest.approx(0.994 - answers[ACCURACY].visible)


def course(**fields: Any) -> DuelStatistics:  # noqa: ANN401 - any field
    """How a contest went."""
    given: dict[str, Any] = {
        "answers": MappingProxyType({}),
        "blocks": 40,
        "slot_seconds": 0.01,
        "noise_figure": 0.00025,
        "pairs": 2,
        "fresh": 0,
        "measuring": 1.6,
        "starting": 0.0,
        "requests": 10_000,
        "bad": 0,
    }
    return DuelStatistics(**{**given, **fields})


def test_errors_in_slots_are_errors() -> None:
    """They join those of the opening, over all requests; so `errors == 0` fails."""
    opening = make_measurement(
        {**METRICS, "errors": counted(0.0002)}, errors=(ErrorCount("ValueError", 2, "no"),)
    )

    found = with_slots(opening, course(bad=18))

    assert found.requests == 20_000
    assert found["errors"] == counted(20 / 20_000)
    assert [error.requests for error in found.errors] == [2, 18]
    (judgement,) = judge_duel(found, make_accepted(METRICS), [parse_budget("errors == 0")], {})
    assert judgement.verdict is Verdict.FAIL


def test_slots_without_errors_leave_the_measurement() -> None:
    """But for a note on how it went; and without blocks there is none."""
    opening = make_measurement(METRICS, notes=("one",))

    assert with_slots(opening, NOTHING) == opening
    after = with_slots(opening, course())
    assert after.notes == ("one", course_note(course()))
    assert dataclasses.replace(after, notes=("one",)) == opening


def test_the_note() -> None:
    """How many blocks of what, on which pairs, in what time, with which noise."""
    assert course_note(course(fresh=3)) == (
        "measured in turn with the base: 40 blocks of 4 slots of 10 ms on 2 pairs and 3 fresh "
        "ones in 1.6 s, noise figure S = 0.00025 s"
    )
    assert course_note(course(pairs=1, noise_figure=None)).endswith("on 1 pair in 1.6 s")


NO_SLOWER = "throughput >= baseline"


@dataclass
class Runner:
    """One side: answers on a clock of the test, at a known cost."""

    clock: FakeClock
    cost: float
    bad: int = 0
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    slots: int = 0

    def slot(self, seconds: float, number: int) -> Slot:
        """Answer as long as requests come."""
        del number
        self.slots += 1
        each = 1e-4 * self.cost * math.exp(0.01 * self.random.standard_normal())
        calls = math.ceil(seconds / each)
        self.clock.now += round(calls * each * 1e9)
        good = calls - self.bad
        return Slot(good, good, self.bad, calls * each, np.full(good, each))


@dataclass
class SimulatedDuel:
    """A duel on a fake clock.

    Attributes:
        cost: of the candidate's requests, as a multiple of the base's.
        lost: rows that fresh candidates do not have right, of 1000.
        bad: requests of each slot of the candidate that end badly.
    """

    cost: float = 1.0
    lost: int = 0
    bad: int = 0
    clock: FakeClock = field(default_factory=FakeClock)
    fresh_pairs: int = 0
    runners: list[Runner] = field(default_factory=list)

    def pair(self) -> Pair:
        """A pair that is measured."""
        base, candidate = Runner(self.clock, 1.0), Runner(self.clock, self.cost, self.bad)
        self.runners += [base, candidate]
        return Pair(base, candidate, lambda: (opening(0), opening(self.lost)))

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Pair]:
        """A further one."""
        self.fresh_pairs += 1
        yield self.pair()

    @property
    def slots(self) -> int:
        """How many slots were measured."""
        return sum(runner.slots for runner in self.runners)

    def compare(
        self,
        found: Measurement,
        base: Measurement,
        *texts: str,
        pairs: int = 1,
    ) -> Result:
        """Judge a candidate."""
        settings = DuelSettings(0.005, metric_named("throughput"), 20.0, ErrorRates(1))
        return compare(
            found,
            Base(base, ENVIRONMENT, REVISION),
            [parse_budget(text) for text in texts],
            SlotScheduler(self.clock, np.random.default_rng(0), FakeProgress(), settings),
            [self.pair() for _ in range(pairs)],
            fresh=self.fresh,
        )


def opening(lost: int = 0, **fields: Any) -> Measurement:  # noqa: ANN401 - any field
    """What an opening load found: the same speed always, and so many rows lost of 1000."""
    metrics = {
        "throughput": estimate(10_000.0),
        "p99": estimate(0.02),
        "errors": counted(0.0),
        "accuracy": estimate(1 - lost / 1000),
    }
    rows = make_rows([0] * lost + [1] * (1000 - lost))
    return make_measurement(metrics, rows=rows, **fields)


def verdicts_of(result: Result) -> list[Verdict]:
    """Of each budget."""
    return [judgement.verdict for judgement in result.judgements]


def only(result: Result) -> Judgement:
    """The only judgement."""
    (judgement,) = result.judgements
    return judgement


@pytest.mark.parametrize(("cost", "verdict"), [(1.0, Verdict.PASS), (1.1, Verdict.FAIL)])
def test_slots_tell_the_speed(cost: float, verdict: Verdict) -> None:
    """The openings are equal here: what slots say is the verdict, the change, and in a note."""
    result = SimulatedDuel(cost=cost).compare(opening(), opening(), NO_SLOWER)

    judgement = only(result)
    assert judgement.verdict is verdict
    assert judgement.change is not None
    assert judgement.change.value == pytest.approx(1 / cost, abs=0.02)
    assert judgement.revision == str(REVISION)
    assert result.course.blocks > 0
    assert any("measured in turn with the base" in note for note in result.measurement.notes)


@pytest.mark.parametrize(("lost", "verdict"), [(0, Verdict.PASS), (50, Verdict.FAIL)])
def test_rows_tell_the_accuracy(lost: int, verdict: Verdict) -> None:
    """A loss of accuracy is confirmed on fresh pairs; none needs no pair and no slot."""
    duel = SimulatedDuel(lost=lost)

    result = duel.compare(opening(lost), opening(), ACCURACY)

    assert only(result).verdict is verdict
    assert duel.fresh_pairs == (2 if lost else 0)
    assert duel.slots == 0


def test_a_loss_of_accuracy_that_is_not_confirmed() -> None:
    """Fresh pairs do not have it: the rows of the first one are not the last word."""
    duel = SimulatedDuel(lost=0)

    result = duel.compare(opening(50), opening(), ACCURACY)

    assert only(result).verdict is not Verdict.FAIL
    assert duel.fresh_pairs >= 2


def test_speed_and_accuracy_are_judged_apart() -> None:
    """A candidate that is slower and answers as well, and one that is fast and answers worse."""
    slower = SimulatedDuel(cost=1.1).compare(opening(), opening(), NO_SLOWER, ACCURACY)
    worse = SimulatedDuel(lost=50).compare(opening(50), opening(), NO_SLOWER, ACCURACY)

    assert verdicts_of(slower) == [Verdict.FAIL, Verdict.PASS]
    assert verdicts_of(worse) == [Verdict.PASS, Verdict.FAIL]


def test_absolute_budgets_are_the_candidates_own() -> None:
    """Judged by its load, without a slot."""
    duel = SimulatedDuel(cost=2.0)

    result = duel.compare(opening(), opening(), "p99 <= 10ms", "throughput >= 9000/s")

    assert verdicts_of(result) == [Verdict.FAIL, Verdict.PASS]
    assert duel.slots == 0


def test_another_scenario_is_not_measured() -> None:
    """INCONCLUSIVE with the reason: two loads tell nothing of one another; not a slot is lost."""
    duel = SimulatedDuel(cost=2.0)
    found = opening(scenario="Offline()")

    result = duel.compare(found, opening(), NO_SLOWER, "p99 <= 10ms")

    assert verdicts_of(result) == [Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert "scenario" in result.judgements[0].reason
    assert (result.course, result.measurement) == (NOTHING, found)
    assert duel.slots == 0


def test_a_load_that_hung_is_not_measured_further() -> None:
    """INVALID, and not a slot: it would hang again."""
    duel = SimulatedDuel()

    result = duel.compare(opening(hung="a call had not returned"), opening(), NO_SLOWER, ACCURACY)

    assert verdicts_of(result) == [Verdict.INVALID, Verdict.INVALID]
    assert result.course == NOTHING
    assert duel.slots == 0


def test_without_pairs_the_openings_are_compared() -> None:
    """A load that has no slots: judged as against a stored baseline, with the noise of runs."""
    duel = SimulatedDuel()
    slow = make_measurement({"throughput": estimate(5_000.0)})

    result = duel.compare(slow, opening(), "throughput >= 0.9 * baseline", pairs=0)

    assert only(result).verdict is Verdict.FAIL
    assert only(result).change is None
    assert duel.slots == 0


def test_another_serving_is_compared_and_noted() -> None:
    """What a commit changes may be its batching."""
    found = opening(serving="Serving(max_batch_size=1)")

    result = SimulatedDuel(cost=1.2).compare(found, opening(), NO_SLOWER)

    assert only(result).verdict is Verdict.FAIL
    assert "the base was served by Serving()" in result.measurement.notes


def test_errors_in_slots_fail_the_test() -> None:
    """A candidate that answers badly only in slots: its errors are counted, and judged."""
    half = "throughput >= 0.5 * baseline"
    well = SimulatedDuel().compare(opening(), opening(), half, "errors == 0")
    badly = SimulatedDuel(bad=1).compare(opening(), opening(), half, "errors == 0")

    assert verdicts_of(well) == [Verdict.PASS, Verdict.PASS]
    assert verdicts_of(badly) == [Verdict.PASS, Verdict.FAIL]
    assert badly.measurement.errors[-1].requests == badly.course.bad > 0
