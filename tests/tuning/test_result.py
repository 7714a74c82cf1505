"""Trials as a journal keeps them."""

from __future__ import annotations

import json

import pytest
from builders import make_rows
from hypothesis import given
from hypothesis import strategies as st
from studies import a_finalist, a_knob, a_study, a_trial

from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.tuning.configuration import configured
from pytest_dlperf.tuning.result import TrialResult
from pytest_dlperf.tuning.result_json import trial_from_json, trial_to_json

UNITS = a_knob("units", 512, 256, None)
DEFAULT = configured((UNITS,))
finite = st.floats(0, 1e12)


@given(finite, finite, finite, st.text(), st.lists(st.text(), max_size=2))
def test_a_trial_leads_back(
    first: float, second: float, third: float, failed: str, notes: list[str]
) -> None:
    """Figures to the last digit, so that a study that goes on asks for the same trials."""
    low, value, high = sorted((first, second, third))
    trial = TrialResult(
        configured((UNITS,), {"units": None}),
        {"p99": Estimate(value, low, high)},
        failed=failed,
        seconds=value,
        notes=tuple(notes),
    )
    back = trial_from_json(json.loads(json.dumps(trial_to_json(trial))), (UNITS,))

    assert back == trial
    assert back.configuration.values["units"] is None


def test_rows_lead_back() -> None:
    """The evidence for accuracy is kept, so that trials of two runs are paired."""
    trial = a_trial(DEFAULT, {"accuracy": 0.75}, rows=make_rows([1, 1, 0, 1]))
    back = trial_from_json(json.loads(json.dumps(trial_to_json(trial))), (UNITS,))

    assert back.rows is not None
    assert trial.rows is not None
    assert list(back.rows.right) == list(trial.rows.right)


@pytest.mark.parametrize(
    "change",
    [
        {"configuration": {"units": "1024"}},
        {"configuration": {"layers": "1"}},
        {"configuration": None},
        {"metrics": {"p99": "fast"}},
        {"metrics": {"p99": [1.0, 2.0, 3.0]}},
        {"seconds": None},
        {"rows": {"data": "d"}},
        {"notes": None},
    ],
    ids=str,
)
def test_what_is_no_trial(change: dict[str, object]) -> None:
    """A line that this study did not write raises what a journal leaves out."""
    fields = {**trial_to_json(a_trial(DEFAULT, {"p99": 0.002})), **change}

    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        trial_from_json(fields, (UNITS,))


def test_what_was_measured() -> None:
    """A trial that failed or was skipped has nothing that constraints could be asked about."""
    assert a_trial(DEFAULT, {"p99": 0.002}).measured is not None
    assert TrialResult(DEFAULT, failed="diverged").measured is None
    assert TrialResult(DEFAULT, skipped="impossible").measured is None


def test_trials_are_found_by_their_configuration() -> None:
    """One that was not tried is not there."""
    base = a_trial(DEFAULT, {"p99": 0.002})
    tuned = a_study([base], (UNITS,))

    assert tuned.trial_of(DEFAULT) is base
    with pytest.raises(KeyError, match="units=256"):
        tuned.trial_of(configured((UNITS,), {"units": 256}))


def test_a_proof_is_a_pass() -> None:
    """A finalist that is not proven better is not the winner."""
    better = configured((UNITS,), {"units": 256})
    trials = [a_trial(DEFAULT, {"throughput": 1.0}), a_trial(better, {"throughput": 2.0})]

    assert a_finalist(better, 2.0).proven
    assert a_study(trials, (UNITS,), [a_finalist(better, 2.0)]).winner is not None
