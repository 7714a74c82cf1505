"""Duel: the judgements on a candidate that was measured in turn with its base."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, REVISION, estimate, make_accepted, make_measurement, make_rows
from fakes import FakeProgress
from simulated_pairs import SimulatedPairs

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.budget_evidence import ShareEvidence
from pytest_dlperf.duel.opening import Opening
from pytest_dlperf.duel.questions import NOTHING, BudgetOutcome, DuelSettings, DuelStatistics
from pytest_dlperf.duel.scheduler import SlotScheduler
from pytest_dlperf.duel.verdicts import (
    compare,
    judge_duel,
    judge_rows,
    slots_note,
    with_slots,
)
from pytest_dlperf.judge.contrasts import lost_on_rows
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import FARTHEST, Estimate, counted

if TYPE_CHECKING:
    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.results.row_evidence import Rows
    from pytest_dlperf.results.verdict import Judgement
    from pytest_dlperf.statistics.estimate import Decision

THROUGHPUT = "throughput >= 0.95 * baseline"
P99 = "p99 <= baseline"
ACCURACY = "accuracy >= baseline"
RATES = ErrorRates(1)
METRICS = {"throughput": estimate(1000.0), "p99": estimate(0.02), "errors": counted(0.0)}


def outcome(
    decision: Decision | None,
    loss: float = 0.0,
    reach: float = 0.01,
    **fields: Any,  # noqa: ANN401 - any field
) -> BudgetOutcome:
    """The outcome of a budget."""
    given: dict[str, Any] = {"visible": 0.04, "reason": ""}
    return BudgetOutcome(
        decision, Estimate(loss, loss - reach, loss + reach), **{**given, **fields}
    )


def judged(
    text: str,
    decided: BudgetOutcome | None,
    *,
    base: dict[str, Any] | None = None,
    **fields: Any,  # noqa: ANN401 - any field
) -> Judgement:
    """One budget, judged."""
    (judgement,) = judge_duel(
        make_measurement(METRICS, **fields),
        make_accepted(METRICS, **(base or {})),
        [parse_budget(text)],
        {} if decided is None else {text: decided},
        RATES,
    )
    return judgement


@pytest.mark.parametrize(
    ("decision", "loss", "verdict", "improved"),
    [
        ("FAIL", 0.1, Verdict.FAIL, False),
        ("FAIL", -0.1, Verdict.FAIL, False),
        ("PASS", 0.0, Verdict.PASS, False),
        ("PASS", -0.1, Verdict.PASS, True),
        (None, 0.1, Verdict.INCONCLUSIVE, False),
        (None, -0.1, Verdict.INCONCLUSIVE, False),
    ],
)
def test_the_verdict_is_what_was_decided(
    decision: Decision | None,
    loss: float,
    verdict: Verdict,
    improved: bool,  # noqa: FBT001 - a case
) -> None:
    """Whatever the openings measured; a PASS whose whole interval is a gain is an improvement."""
    judgement = judged(THROUGHPUT, outcome(decision, loss, 0.02))

    assert (judgement.verdict, judgement.improved) == (verdict, improved)
    assert judgement.revision == "01234567, 2026-11-23"


@pytest.mark.parametrize(
    ("text", "base", "sign", "limit"),
    [(THROUGHPUT, 1000.0, -1, 950.0), (P99, 0.02, 1, 0.02)],
    ids=["a rate", "a latency"],
)
def test_the_change(text: str, base: float, sign: int, limit: float) -> None:
    """A log loss of 0.1 is 0.905 of the base's throughput, and 1.105 times its latency."""
    judgement = judged(text, outcome("FAIL", 0.1, 0.02))

    ends = sorted([math.exp(sign * 0.08), math.exp(sign * 0.12)])
    for shown, scale in ((judgement.change, 1.0), (judgement.measured, base)):
        assert shown is not None
        assert shown.value == pytest.approx(scale * math.exp(sign * 0.1))
        assert [shown.low, shown.high] == pytest.approx([scale * end for end in ends])
    assert (judgement.baseline, judgement.limit) == (base, pytest.approx(limit))


def test_an_open_question_says_what_could_have_been_seen() -> None:
    """The value at which it would have failed, in the metric's own unit, and a reason."""
    slower = judged(THROUGHPUT, outcome(None, visible=0.08))
    later = judged(P99, outcome(None, visible=0.08, reason="there was no time"))

    assert slower.fails_at == pytest.approx(1000 * math.exp(-0.08))
    assert slower.reason == "the noise hides a loss of this size"
    assert later.fails_at == pytest.approx(0.02 * math.exp(0.08))
    assert later.reason == "there was no time"


@pytest.mark.parametrize("decision", ["FAIL", "PASS"])
@pytest.mark.parametrize("reason", ["trained anew in each of 4 pairs", ""])
def test_what_is_decided_needs_no_such_value(decision: Decision, reason: str) -> None:
    """No smallest visible change, and only the reason of the duel."""
    judgement = judged(THROUGHPUT, outcome(decision, reason=reason))

    assert (judgement.fails_at, judgement.reason) == (None, reason)


def test_no_change_could_have_been_seen() -> None:
    """A loss beyond all bounds is no number to print."""
    assert judged(THROUGHPUT, outcome(None, visible=FARTHEST)).fails_at is None


def test_what_no_pair_showed_has_no_change() -> None:
    """Neither a ratio of one nor an interval of all numbers."""
    judgement = judged(P99, BudgetOutcome(None, None, FARTHEST, "p99 needs 600 requests"))

    assert (judgement.verdict, judgement.change) == (Verdict.INCONCLUSIVE, None)
    assert judgement.reason == "p99 needs 600 requests"


def test_a_base_without_the_value() -> None:
    """A percentile that its opening was too short for: the ratio is known, its value is not."""
    text = "p99.9 <= 1.1 * baseline"
    found = make_measurement({**METRICS, "p99.9": estimate(0.05)})

    (judgement,) = judge_duel(
        found, make_accepted(METRICS), [parse_budget(text)], {text: outcome("FAIL", 0.3)}, RATES
    )

    assert judgement.verdict is Verdict.FAIL
    assert judgement.baseline is judgement.limit is judgement.fails_at is None
    assert judgement.measured == estimate(0.05)
    assert judgement.change is not None
    assert judgement.change.value == pytest.approx(math.exp(0.3))


def test_absolute_budgets_are_judged_on_the_candidate() -> None:
    """By its own load, whatever the base had."""
    found = make_measurement({**METRICS, "p99": estimate(0.03)})
    budgets = [parse_budget("p99 <= 25ms"), parse_budget("throughput >= 900/s")]

    verdicts = [
        one.verdict for one in judge_duel(found, make_accepted(METRICS), budgets, {}, RATES)
    ]

    assert verdicts == [Verdict.FAIL, Verdict.PASS]


def test_new_where_the_base_has_none() -> None:
    """A metric that slots do not decide, and that the base did not measure."""
    found = make_measurement({**METRICS, "peak_memory": estimate(1e9)})

    (judgement,) = judge_duel(
        found, make_accepted(METRICS), [parse_budget("peak_memory <= baseline")], {}, RATES
    )

    assert judgement.verdict is Verdict.NEW


@pytest.mark.parametrize(("memory", "verdict"), [(1.0e9, Verdict.PASS), (2e9, Verdict.FAIL)])
def test_what_slots_do_not_decide_is_judged_as_against_a_baseline(
    memory: float, verdict: Verdict
) -> None:
    """Peak memory, say: by the openings' intervals and the prior for the noise of runs."""
    found = make_measurement({**METRICS, "peak_memory": estimate(memory)})
    base = make_accepted({**METRICS, "peak_memory": estimate(1e9)})

    (judgement,) = judge_duel(
        found, base, [parse_budget("peak_memory <= 1.3 * baseline")], {}, RATES
    )

    assert judgement.verdict is verdict
    assert judgement.change is not None


def test_invalid_where_a_call_never_returned() -> None:
    """A load that was cut short says nothing, whatever slots said."""
    found = judged(THROUGHPUT, outcome("PASS"), hung="a call had not returned after 1 s")

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

    assert judged(THROUGHPUT, outcome("FAIL", 0.1), base=base).verdict is Verdict.FAIL
    assert judged("p99 <= 4 * baseline", None, base=base).verdict is Verdict.PASS


def test_budgets_keep_their_order() -> None:
    """Answered or not."""
    texts = [P99, "throughput >= 900/s", THROUGHPUT]
    found = judge_duel(
        make_measurement(METRICS),
        make_accepted(METRICS),
        [parse_budget(text) for text in texts],
        {THROUGHPUT: outcome("FAIL"), P99: outcome("PASS")},
        RATES,
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


def by_rows(found: Measurement, base: Measurement, *budgets: Budget) -> dict[str, BudgetOutcome]:
    """The outcomes where a second pair answers as the first did."""
    _, questions = judge_rows(found, base, budgets, RATES)
    outcomes = {}
    for question in questions:
        evidence = ShareEvidence(question)
        evidence.add(question.evidence)
        assert evidence.outcome is not None
        outcomes[question.budget.text] = evidence.outcome
    return outcomes


@pytest.mark.parametrize(
    ("lost", "won", "decision"),
    [(60, 5, "FAIL"), (0, 0, "PASS"), (1, 1, "PASS"), (12, 6, None), (0, 60, "PASS")],
)
def test_accuracy_is_decided_row_by_row(lost: int, won: int, decision: Decision | None) -> None:
    """A clear loss, none, hardly any, too few rows to tell, and a gain."""
    found, base = rows_that_lose(lost, won)

    outcomes = by_rows(found, base, parse_budget(ACCURACY))

    assert outcomes[ACCURACY].decision == decision
    assert outcomes[ACCURACY].loss.value == pytest.approx((lost - won) / 1000)


def test_a_loss_that_is_allowed() -> None:
    """3 points are lost: a budget that allows ten of them passes, one that allows none fails."""
    found, base = rows_that_lose(30, 0)
    none, ten = parse_budget(ACCURACY), parse_budget("accuracy >= baseline - 10pt")

    outcomes = by_rows(found, base, none, ten)

    assert outcomes[none.text].decision == "FAIL"
    assert outcomes[ten.text].decision == "PASS"


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


@pytest.mark.parametrize(("lost", "differs"), [(60, True), (0, False)])
def test_what_further_pairs_are_asked(lost: int, *, differs: bool) -> None:
    """Each budget on accuracy, and whether there is anything to ask."""
    found, base = rows_that_lose(lost, 0)
    budgets = [parse_budget(t) for t in (THROUGHPUT, ACCURACY, "accuracy >= baseline - 20pt")]

    outcomes, (first, second) = judge_rows(found, base, budgets, RATES)

    assert outcomes == {}
    assert (first.budget.text, first.limits) == (ACCURACY, LossLimits(0.0, 0.01))
    assert second.limits.allowed == pytest.approx(0.2)
    assert first.evidence.differs is second.evidence.differs is differs
    assert first.evidence.loss.value == pytest.approx(lost / 1000)


def test_the_judgement_on_accuracy() -> None:
    """Its change is in points: the difference, not a ratio; measured is the candidate's share."""
    found, base = rows_that_lose(60, 5)
    budget = parse_budget(ACCURACY)
    accepted = make_accepted(base.metrics, rows=base.rows)

    outcomes = by_rows(found, base, budget)
    (judgement,) = judge_duel(found, accepted, [budget], outcomes, RATES)

    assert judgement.verdict is Verdict.FAIL
    assert judgement.change is not None
    assert judgement.change.value == pytest.approx(-0.055)
    assert judgement.measured == found["accuracy"]
    assert judgement.baseline == judgement.limit == pytest.approx(0.995)


def test_an_open_accuracy_says_at_which_share_it_fails() -> None:
    """In shares of one, below the base's."""
    found, base = rows_that_lose(12, 6)
    budget = parse_budget(ACCURACY)
    outcomes = by_rows(found, base, budget)

    accepted = make_accepted(base.metrics, rows=base.rows)
    (judgement,) = judge_duel(found, accepted, [budget], outcomes, RATES)

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.fails_at == pytest.approx(0.994 - outcomes[ACCURACY].visible)


STATISTICS = DuelStatistics(
    pairs=2, blocks=40, slot_seconds=0.01, measuring=1.6, starting=0.8, requests=10_000
)


def test_errors_in_slots_are_errors() -> None:
    """They join those of the opening, over all requests; so `errors == 0` fails."""
    opening = make_measurement(
        {**METRICS, "errors": counted(0.0002)}, errors=(ErrorCount("ValueError", 2, "no"),)
    )

    found = with_slots(opening, dataclasses.replace(STATISTICS, bad=18))

    assert found.requests == 20_000
    assert found["errors"] == counted(20 / 20_000)
    assert [error.requests for error in found.errors] == [2, 18]
    (judgement,) = judge_duel(
        found, make_accepted(METRICS), [parse_budget("errors == 0")], {}, RATES
    )
    assert judgement.verdict is Verdict.FAIL


def test_slots_without_errors_leave_the_measurement() -> None:
    """But for a note on how it went; and without blocks there is none."""
    opening = make_measurement(METRICS, notes=("one",))

    assert with_slots(opening, NOTHING) == opening
    after = with_slots(opening, STATISTICS)
    assert after.notes == ("one", slots_note(STATISTICS))
    assert dataclasses.replace(after, notes=("one",)) == opening


def test_the_note() -> None:
    """How many pairs, on which processors, how many blocks of what, in what time."""
    assert slots_note(STATISTICS) == (
        "measured in turn with the base: 2 pairs on all processors, 40 blocks of 4 slots of 10 ms, "
        "in 2.4 s"
    )
    one = slots_note(dataclasses.replace(STATISTICS, pairs=1, processors=1))
    assert "base: 1 pair on one processor, 40 blocks" in one


NO_SLOWER = "throughput >= baseline"


def compared(
    pairs: SimulatedPairs,
    candidate: Measurement,
    *texts: str,
    slots: bool = True,
) -> tuple[Record, DuelStatistics]:
    """Judge a candidate by a base with `opening()`."""
    settings = DuelSettings(0.005, metric_named("throughput"), 60.0)
    budgets = tuple(map(parse_budget, texts))
    sides = (
        Opening(side, ENVIRONMENT, budgets, 0.005, slots, open_loop=False, budget_time=20.0)
        for side in (candidate, opening())
    )
    return compare(
        *sides,
        REVISION,
        RATES,
        SlotScheduler(pairs.clock, np.random.default_rng(0), FakeProgress(), settings),
        pairs.first_pair() if slots else None,
        fresh=pairs.fresh,
    )


def opening(lost: int = 0, **fields: Any) -> Measurement:  # noqa: ANN401 - any field
    """An opening load: always the same speed, and these rows lost of 600."""
    metrics = {
        "throughput": estimate(10_000.0),
        "p99": estimate(0.02),
        "errors": counted(0.0),
        "accuracy": estimate(1 - lost / 600),
    }
    return make_measurement(metrics, rows=make_rows([0] * lost + [1] * (600 - lost)), **fields)


def verdicts_of(record: Record) -> list[Verdict]:
    """Of each budget."""
    return [judgement.verdict for judgement in record.judgements]


@pytest.mark.parametrize(("cost", "verdict"), [(1.0, Verdict.PASS), (1.1, Verdict.FAIL)])
def test_slots_decide_the_speed(cost: float, verdict: Verdict) -> None:
    """The openings are equal here: the verdict, the change and a note are those of the slots."""
    pairs = SimulatedPairs(loss=math.log(cost))

    record, statistics = compared(pairs, opening(), NO_SLOWER, ACCURACY)

    speed, accuracy = record.judgements
    assert (speed.verdict, accuracy.verdict) == (verdict, Verdict.PASS)
    assert speed.change is not None
    assert speed.change.value == pytest.approx(1 / cost, abs=0.02)
    assert speed.revision == str(REVISION)
    assert statistics.blocks > 0
    assert record.duel == statistics.to_json()
    assert any("measured in turn with the base" in note for note in record.measurement.notes)


@pytest.mark.parametrize(
    ("lost", "again", "verdict", "further"),
    [(0, 0, Verdict.PASS, 0), (9, 9, Verdict.FAIL, 1)],
)
def test_rows_decide_the_accuracy(lost: int, again: int, verdict: Verdict, further: int) -> None:
    """A loss is asked of a second pair; no loss needs no pair; none needs a slot."""
    pairs = SimulatedPairs(lost=(again,))

    record, _ = compared(pairs, opening(lost), ACCURACY)

    assert verdicts_of(record) == [verdict]
    assert pairs.opened == further
    assert not pairs.turns


def test_a_fast_candidate_that_answers_worse() -> None:
    """Speed and accuracy are judged apart."""
    record, _ = compared(SimulatedPairs(lost=(9,)), opening(9), NO_SLOWER, ACCURACY)

    assert verdicts_of(record) == [Verdict.PASS, Verdict.FAIL]


@pytest.mark.parametrize(
    ("budgets", "fields", "verdicts"),
    [
        (("p99 <= 10ms", "throughput >= 9000/s"), {}, [Verdict.FAIL, Verdict.PASS]),
        (
            (NO_SLOWER, "p99 <= 10ms"),
            {"scenario": "Offline()"},
            [Verdict.INCONCLUSIVE, Verdict.FAIL],
        ),
        ((NO_SLOWER, ACCURACY), {"hung": "a call had not returned"}, [Verdict.INVALID] * 2),
    ],
    ids=["absolute budgets", "another scenario", "a call that hung"],
)
def test_without_a_slot(
    budgets: tuple[str, ...], fields: dict[str, str], verdicts: list[Verdict]
) -> None:
    """Judged by the opening load, where slots could add nothing."""
    pairs, candidate = SimulatedPairs(loss=math.log(2)), opening(**fields)

    record, statistics = compared(pairs, candidate, *budgets)

    assert verdicts_of(record) == verdicts
    assert not pairs.turns
    assert record.measurement == candidate
    assert statistics.outcomes == {}
    if "scenario" in fields:
        assert "scenario" in record.judgements[0].reason


def test_a_load_that_has_no_slots() -> None:
    """Judged as against a stored baseline, with the noise of runs."""
    pairs, slow = SimulatedPairs(), make_measurement({"throughput": estimate(5_000.0)})
    budget = "throughput >= 0.9 * baseline"

    record, _ = compared(pairs, slow, budget, slots=False)

    assert verdicts_of(record) == [Verdict.FAIL]
    assert record.judgements[0].change is not None
    assert not pairs.turns


def test_another_serving_is_compared_and_noted() -> None:
    """What a commit changes may be its batching."""
    candidate = opening(serving="Serving(max_batch_size=1)")

    record, _ = compared(SimulatedPairs(loss=math.log(1.2)), candidate, NO_SLOWER)

    assert verdicts_of(record) == [Verdict.FAIL]
    assert "the base was served by Serving()" in record.measurement.notes


@pytest.mark.parametrize(("bad", "verdict"), [(0, Verdict.PASS), (10, Verdict.FAIL)])
def test_errors_in_slots_fail_the_test(bad: int, verdict: Verdict) -> None:
    """Errors of a candidate that fails in slots only are counted, and judged."""
    half = "throughput >= 0.5 * baseline"

    record, statistics = compared(SimulatedPairs(bad=bad), opening(), half, "errors == 0")

    assert verdicts_of(record) == [Verdict.PASS, verdict]
    assert sum(error.requests for error in record.measurement.errors) == statistics.bad
    assert (statistics.bad > 0) == (bad > 0)
