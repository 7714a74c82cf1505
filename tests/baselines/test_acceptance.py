"""Acceptance: when a measurement becomes the baseline."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from builders import (
    ENVIRONMENT,
    REVISION,
    estimate,
    make_accepted,
    make_judgement,
    make_measurement,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.baselines.acceptance import (
    ENOUGH_SESSIONS,
    BaselineComparison,
    decide_acceptance,
    unchanged,
)
from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.judge.conditions import UNKNOWN_CONDITIONS, MachineConditions
from pytest_dlperf.results.baseline import MOST_SESSIONS, accept
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.statistics.estimate import Estimate

MEASUREMENT = make_measurement()
NONE_YET = BaselineComparison()
GROWN = BaselineComparison(sessions=ENOUGH_SESSIONS, unchanged=True)
YOUNG = BaselineComparison(sessions=1, unchanged=True)
CHANGED = BaselineComparison(sessions=ENOUGH_SESSIONS)
UPDATES = (None, "new", "improved", "all")
HELD = make_judgement(Verdict.PASS)
HELD_AGAINST = make_judgement(Verdict.PASS, baseline=1000.0, limit=900.0)
BETTER = make_judgement(Verdict.PASS, baseline=500.0, limit=500.0, improved=True)
OPEN = make_judgement(Verdict.INCONCLUSIVE, baseline=1000.0, reason="noise")
WORSE = make_judgement(Verdict.FAIL, baseline=2000.0, budget="throughput >= baseline")
BROKEN = make_judgement(Verdict.FAIL, budget="p99 <= 1ms", metric="p99")
FRESH = make_judgement(Verdict.NEW, reason="no baseline yet")
SPOILT = make_judgement(Verdict.INVALID, reason="late")
OTHER_SCENARIO = make_judgement(Verdict.INCONCLUSIVE, baseline=1000.0, lasting=True)
ALL = (HELD, HELD_AGAINST, BETTER, OPEN, WORSE, BROKEN, FRESH, SPOILT)


@pytest.mark.parametrize(
    ("update", "known", "judgements", "save"),
    [
        (None, False, [FRESH], False),
        (None, True, [BETTER], False),
        ("new", False, [FRESH], True),
        ("new", False, [], True),
        ("new", False, [HELD, FRESH], True),
        ("new", True, [HELD_AGAINST], False),
        ("new", True, [BETTER], False),
        ("improved", False, [FRESH], True),
        ("improved", True, [BETTER], True),
        ("improved", True, [BETTER, OPEN], True),
        ("improved", True, [HELD_AGAINST], False),
        ("improved", True, [BETTER, WORSE], False),
        ("all", False, [FRESH], True),
        ("all", True, [HELD_AGAINST], True),
        ("all", True, [OPEN], True),
        ("all", True, [WORSE], True),
        # Broken whatever the baseline: never accepted.
        ("new", False, [FRESH, BROKEN], False),
        ("improved", True, [BETTER, BROKEN], False),
        ("all", True, [BROKEN], False),
        ("all", True, [WORSE, BROKEN], False),
        # Nothing that was not really measured is accepted.
        ("new", False, [FRESH, SPOILT], False),
        ("all", True, [SPOILT], False),
    ],
)
def test_save(update: str | None, judgements: list[Judgement], *, known: bool, save: bool) -> None:
    """A baseline is written where the user allowed it and the measurement is fit to be one."""
    comparison = GROWN if known else NONE_YET
    decision = decide_acceptance(update, MEASUREMENT, tuple(judgements), comparison)  # type: ignore[arg-type]
    assert bool(decision.keep) is save


@pytest.mark.parametrize("update", ["new", "improved", "all"])
@pytest.mark.parametrize("sessions", [0, 1])
def test_nothing_is_accepted_under_a_debugger(update: Any, sessions: int) -> None:  # noqa: ANN401
    """Whether it would be the first session, the next one or a change; and it is said."""
    comparison = BaselineComparison(
        sessions=sessions,
        unchanged=True,
        other_conditions=bool(sessions),
        distortion="measured under python -X dev, which slows Python code down",
    )
    for judgements in ((HELD_AGAINST,), (BETTER,), ()):
        decision = decide_acceptance(update, MEASUREMENT, judgements, comparison)
        assert not decision.keep
        assert decision.hint.startswith("not recorded: measured under python -X dev")
        assert not decide_acceptance(None, MEASUREMENT, judgements, comparison).hint


@pytest.mark.parametrize(
    ("update", "comparison", "judgements", "keep"),
    [
        (None, YOUNG, [HELD_AGAINST], ""),
        ("new", YOUNG, [HELD_AGAINST], "follow"),
        ("new", YOUNG, [OPEN], "follow"),
        ("improved", YOUNG, [HELD_AGAINST], "follow"),
        ("all", YOUNG, [HELD_AGAINST], "follow"),
        # Grown up: only `all` goes on.
        ("new", GROWN, [HELD_AGAINST], ""),
        ("improved", GROWN, [HELD_AGAINST], ""),
        ("all", GROWN, [HELD_AGAINST], "follow"),
        ("all", BaselineComparison(MOST_SESSIONS, unchanged=True), [HELD_AGAINST], "follow"),
        # A change begins anew, and only by those who accept changes.
        ("new", BaselineComparison(1), [HELD_AGAINST], ""),
        ("improved", BaselineComparison(1), [HELD_AGAINST], ""),
        ("all", CHANGED, [WORSE], "renew"),
        ("all", CHANGED, [HELD_AGAINST], "renew"),
        ("improved", CHANGED, [BETTER], "renew"),
        ("new", CHANGED, [BETTER], ""),
        # A metric that is new comes with `all`; the sessions before it simply lack it.
        ("new", YOUNG, [FRESH], ""),
        ("all", YOUNG, [FRESH], "follow"),
        # However equal the values, another scenario is not comparable.
        ("new", YOUNG, [OTHER_SCENARIO], ""),
        ("all", YOUNG, [OTHER_SCENARIO], "renew"),
        # A session of a noisy machine adds nothing, and replaces nothing.
        ("new", BaselineComparison(1, unchanged=True, noise="others"), [OPEN], ""),
        ("all", BaselineComparison(1, unchanged=True, noise="others"), [OPEN], ""),
        ("all", BaselineComparison(1, noise="others"), [WORSE], ""),
        ("new", BaselineComparison(noise="others"), [FRESH], "renew"),
    ],
)
def test_sessions(
    update: str | None, comparison: BaselineComparison, judgements: list[Judgement], keep: str
) -> None:
    """What is unchanged follows what is there; what has changed begins a new baseline."""
    decision = decide_acceptance(update, MEASUREMENT, tuple(judgements), comparison)  # type: ignore[arg-type]

    assert decision.keep == keep


@pytest.mark.parametrize(
    ("update", "comparison", "judgements", "hint"),
    [
        (None, GROWN, [HELD_AGAINST], ""),
        ("new", NONE_YET, [FRESH], "baseline recorded"),
        ("new", YOUNG, [OPEN, HELD_AGAINST], "session 2 of the baseline recorded"),
        ("all", BaselineComparison(1, unchanged=True, noise="busy"), [OPEN], "not recorded: busy"),
        ("new", NONE_YET, [FRESH, BROKEN], "not recorded: p99 <= 1ms is broken"),
        ("improved", NONE_YET, [FRESH, BROKEN], "not recorded: p99 <= 1ms is broken"),
        ("all", NONE_YET, [FRESH, BROKEN], "not recorded: p99 <= 1ms is broken"),
    ],
)
def test_hints(
    update: str | None, comparison: BaselineComparison, judgements: list[Judgement], hint: str
) -> None:
    """The hint says what was recorded, or why it was not."""
    decision = decide_acceptance(update, MEASUREMENT, tuple(judgements), comparison)  # type: ignore[arg-type]

    assert decision.hint == hint


def test_another_session_changes_no_judgement() -> None:
    """A session that follows is judged as without being recorded; a first one is NEW."""
    decision = decide_acceptance("new", MEASUREMENT, (OPEN, HELD_AGAINST), YOUNG)
    assert decision.judgements == (OPEN, HELD_AGAINST)

    (first,) = decide_acceptance("new", MEASUREMENT, (FRESH,), NONE_YET).judgements
    assert (first.verdict, first.reason) == (Verdict.NEW, "recorded as the baseline")


def test_a_first_session_of_a_busy_machine() -> None:
    """It is recorded, since there is none, with the advice to record it again."""
    decision = decide_acceptance(
        "new", MEASUREMENT, (FRESH,), BaselineComparison(noise="others worked")
    )

    assert decision.keep == "renew"
    assert decision.caution == "the baseline was recorded although others worked"
    assert decision.hint.startswith(decision.caution)
    assert "--dlperf-update=all" in decision.hint


@pytest.mark.parametrize(
    ("update", "comparison"), [("new", NONE_YET), ("new", YOUNG), ("all", CHANGED), (None, GROWN)]
)
def test_a_quiet_machine_is_no_reason_for_caution(
    update: str | None, comparison: BaselineComparison
) -> None:
    """Sessions of a quiet machine bring no warning."""
    decision = decide_acceptance(update, MEASUREMENT, (HELD_AGAINST,), comparison)  # type: ignore[arg-type]

    assert not decision.caution


def test_the_command_can_be_pasted() -> None:
    """A node id with brackets and blanks is quoted for the shell."""
    measurement = make_measurement(test="t.py::test_it[a b]")
    decision = decide_acceptance(None, measurement, (BETTER,), GROWN)

    assert decision.hint.endswith("\npytest 't.py::test_it[a b]' --dlperf-update=improved")


@pytest.mark.parametrize(
    ("anchored", "hint"),
    [
        (True, "baseline replaced, and its anchor with it, since the conditions are others"),
        (False, "baseline replaced"),
    ],
)
def test_other_conditions(hint: str, *, anchored: bool) -> None:
    """They begin a baseline, even without a relative budget; a lost anchor is mentioned."""
    other = BaselineComparison(1, unchanged=True, other_conditions=True, anchored=anchored)

    replaced = decide_acceptance("all", MEASUREMENT, (HELD,), other)
    assert (replaced.keep, replaced.hint) == ("renew", hint)
    left = decide_acceptance("new", MEASUREMENT, (HELD,), other)
    assert (left.keep, left.hint) == ("", "accept the new conditions with --dlperf-update=all")
    assert decide_acceptance(None, MEASUREMENT, (HELD,), other).hint == ""


@pytest.mark.parametrize(
    ("budget", "now", "same"),
    [
        ("throughput >= baseline", 1000.0, True),
        ("throughput >= baseline", 850.0, True),
        ("throughput >= baseline", 1200.0, True),
        ("throughput >= baseline", 700.0, False),
        ("throughput >= baseline", 1500.0, False),
        ("throughput >= 0.5 * baseline", 700.0, False),
        ("throughput >= 1/s", 10.0, True),
    ],
)
def test_unchanged(budget: str, now: float, *, same: bool) -> None:
    """A session that differs by more than the noise is another code's, though it be allowed."""
    measurement = make_measurement({"throughput": estimate(now)})
    budgets = [parse_budget(budget)]

    assert unchanged(measurement, budgets, make_accepted(), UNKNOWN_CONDITIONS) is same


def test_another_machine_is_a_change() -> None:
    """What a machine measured that is not what it was is not one of the sessions before."""
    budgets = [parse_budget("throughput >= baseline")]
    strange = MachineConditions(speed_changed="the machine is not what it was")

    assert not unchanged(MEASUREMENT, budgets, make_accepted(), strange)
    assert not unchanged(MEASUREMENT, budgets, None, UNKNOWN_CONDITIONS)


def test_a_baseline_grows_to_its_limit() -> None:
    """Sessions of unchanged code are kept up to thirty; then the oldest goes."""
    accepted = accept(MEASUREMENT, ENVIRONMENT, REVISION)
    for _ in range(MOST_SESSIONS + 5):
        accepted = accept(MEASUREMENT, ENVIRONMENT, REVISION, None, accepted.sessions)

    assert len(accepted.sessions) == MOST_SESSIONS


@given(
    st.sampled_from(UPDATES),
    st.lists(st.sampled_from(ALL), max_size=4).map(tuple),
    st.booleans(),
)
def test_promises(
    update: str | None,
    judgements: tuple[Judgement, ...],
    known: bool,  # noqa: FBT001 - drawn
) -> None:
    """Nothing is written unasked, on absolute failure, or unmeasured; nothing turns into a PASS."""
    decision = decide_acceptance(update, MEASUREMENT, judgements, GROWN if known else NONE_YET)  # type: ignore[arg-type]
    if decision.keep:
        assert update is not None
        assert BROKEN not in judgements
        assert SPOILT not in judgements
        assert not any(j.verdict is Verdict.FAIL for j in decision.judgements)
    else:
        assert decision.judgements == judgements
    for before, after in zip(judgements, decision.judgements, strict=True):
        assert (before.budget, before.measured) == (after.budget, after.measured)
        assert before.verdict is after.verdict or after.verdict is Verdict.NEW


@pytest.mark.parametrize("update", ["new", "improved", "all"])
@pytest.mark.parametrize(
    "fields", [{"invalid": "late"}, {"refused": {"throughput": "too few"}, "metrics": {}}]
)
def test_failed_measuring_is_not_recorded(update: str, fields: dict[str, object]) -> None:
    """A run whose measuring failed becomes no baseline, even if no budget noticed."""
    measurement = make_measurement(**fields)
    decision = decide_acceptance(update, measurement, (HELD,), NONE_YET)  # type: ignore[arg-type]
    assert not decision.keep
    assert decision.hint in {"not recorded: late", "not recorded: too few"}


@pytest.mark.parametrize(
    ("verdict", "fields", "reason"),
    [
        (
            Verdict.INCONCLUSIVE,
            {"at_least": {"p99": 5.0}, "refused": {"p99": "9 of 10 had no answer"}},
            "p99 is not known: 9 of 10 had no answer",
        ),
    ],
)
def test_no_baseline_of_a_percentile_without_a_bound(
    verdict: Verdict, fields: dict[str, object], reason: str
) -> None:
    """What later measurements could not be compared with is not recorded, and the hint says why."""
    judgement = make_judgement(verdict, budget="p99 <= baseline", metric="p99")
    acceptance = decide_acceptance("new", make_measurement(**fields), (judgement,), NONE_YET)
    assert acceptance.keep == ""
    assert acceptance.hint == f"not recorded: {reason}"


def test_what_a_run_cannot_bound_is_not_stored() -> None:
    """A session has the metrics that have both bounds."""
    metrics = {"throughput": estimate(9.0), "p99": Estimate(2.0, 1.0, 90.0)}
    measurement = make_measurement(metrics, unbounded={"p99": "p99 needs about 60 s"})
    entry = accept(measurement, ENVIRONMENT, REVISION)
    assert entry.metrics.keys() == {"throughput"}


def test_accepted_judgements() -> None:
    """What was broken or open only against the old baseline is NEW, with what it was before."""
    decision = decide_acceptance("all", MEASUREMENT, (WORSE, OPEN, BETTER, HELD), GROWN)
    worse, open_, better, held = decision.judgements
    assert worse.verdict is open_.verdict is Verdict.NEW
    assert "it was 2,000/s" in worse.reason
    assert "it was 1,000/s" in open_.reason
    assert (better, held) == (BETTER, HELD)
    assert decision.hint == "baseline replaced"


def test_accepted_has_no_line_to_fail_at() -> None:
    """Once accepted, the line at which the old baseline would fail is gone."""
    judgement = make_judgement(Verdict.INCONCLUSIVE, baseline=1000.0, fails_at=900.0)
    for comparison in (CHANGED, GROWN):
        decision = decide_acceptance("all", MEASUREMENT, (judgement,), comparison)
        assert decision.judgements[0].verdict is Verdict.NEW
        assert decision.judgements[0].fails_at is None


def test_hints_without_an_update() -> None:
    """Without --dlperf-update the hint says which one would help, or nothing."""
    fresh = decide_acceptance(None, MEASUREMENT, (FRESH,), NONE_YET)
    better = decide_acceptance(None, MEASUREMENT, (BETTER,), GROWN)
    assert "--dlperf-update=new" in fresh.hint
    assert better.hint.splitlines() == [
        "better than the baseline (throughput): hold it with",
        "pytest tests/test_model.py::test_fast --dlperf-update=improved",
    ]


@pytest.mark.parametrize("update", [None, "new"])
def test_hint_leads_on(update: str | None) -> None:
    """A hint is a way that works: `new` records nothing where there is a baseline already."""
    lacking = make_judgement(Verdict.NEW, reason="the baseline has no p99", metric="p99")
    judgements = (HELD_AGAINST, lacking)
    hint = decide_acceptance(update, MEASUREMENT, judgements, GROWN).hint  # type: ignore[arg-type]
    hinted = [value for value in ("new", "improved", "all") if f"--dlperf-update={value}" in hint]
    assert hinted
    for value in hinted:
        assert decide_acceptance(value, MEASUREMENT, judgements, GROWN).keep  # type: ignore[arg-type]


def test_a_percentile_without_a_bound_is_no_part_of_a_baseline() -> None:
    """It is not said to be recorded; nor does it keep the other metrics from new sessions."""
    why = "p99 needs about 5 min of this load for a bound"
    measurement = make_measurement(unbounded={"p99": why})
    lacking = make_judgement(Verdict.NEW, reason="the baseline has no p99", metric="p99")
    for update, comparison in (("new", NONE_YET), ("all", YOUNG), ("all", CHANGED)):
        decision = decide_acceptance(update, measurement, (HELD, lacking), comparison)  # type: ignore[arg-type]
        assert decision.keep
        assert decision.judgements[1].reason == f"not part of the baseline: {why}"
    assert decide_acceptance("new", measurement, (HELD, lacking), YOUNG).keep == "follow"
    assert "--dlperf-update" not in decide_acceptance(None, measurement, (lacking,), GROWN).hint
    still_open = make_judgement(Verdict.INCONCLUSIVE, reason=why, metric="p99")
    decision = decide_acceptance("all", measurement, (still_open,), YOUNG)
    assert decision.judgements == (still_open,)


@pytest.mark.parametrize(("update", "known"), [*itertools.product(UPDATES, (True, False))])
def test_saving_has_a_hint(update: str | None, *, known: bool) -> None:
    """Whenever a baseline is written, a hint says so, and otherwise it does not."""
    decision = decide_acceptance(update, MEASUREMENT, (BETTER,), GROWN if known else NONE_YET)  # type: ignore[arg-type]
    said = "recorded" in decision.hint or decision.hint == "baseline replaced"
    assert said is bool(decision.keep)


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        (
            {"metrics": {"max_rate": Estimate(0.0, 0.0, 40.0)}},
            "not recorded: no rate held the limit",
        ),
        ({"metrics": {}, "refused": {"max_rate": "undecided"}}, "not recorded: undecided"),
        ({"metrics": {"max_rate": Estimate(50.0, 50.0, 52.0)}}, "baseline recorded"),
    ],
)
def test_a_rate_must_have_held(fields: dict[str, Any], hint: str) -> None:
    """A search that found no rate says nothing that a later one could be held against."""
    decision = decide_acceptance("new", make_measurement(**fields), (), NONE_YET)

    assert decision.hint == hint
    assert bool(decision.keep) is (hint == "baseline recorded")
