"""Baseline: plain values in a stable order, and back."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from builders import (
    ENVIRONMENT,
    MACHINE,
    REVISION,
    estimate,
    make_accepted,
    make_measurement,
    make_rows,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.core.baseline import (
    SCHEMA,
    Accepted,
    Baseline,
    Revision,
    accept,
    metrics_to_json,
)
from pytest_dlperf.core.environment import Environment
from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.statistics.estimate import Estimate

_ENDS = st.tuples(*[st.floats(0, 1e12)] * 3).map(sorted)
_ESTIMATES = _ENDS.map(lambda ends: Estimate(ends[1], ends[0], ends[2]))
_ROWS = st.none() | st.lists(st.booleans(), max_size=20).map(make_rows)
_ACCEPTED = st.builds(
    Accepted,
    scenario=st.text(),
    serving=st.text(),
    metrics=st.dictionaries(st.sampled_from(list(METRICS)), _ESTIMATES),
    rows=_ROWS,
    environment=st.builds(Environment, *[st.text()] * 6),
    revision=st.builds(Revision, st.text(), st.text(), st.text()),
)
_BASELINES = st.builds(Baseline, st.text(), st.dictionaries(st.text(), _ACCEPTED, max_size=3))


@given(_BASELINES)
def test_round_trip(baseline: Baseline) -> None:
    """A baseline read back is the one written, its figures to six significant digits."""
    back = Baseline.from_json(json.loads(json.dumps(baseline.to_json(MACHINE))))
    assert back.test == baseline.test
    assert back.accepted.keys() == baseline.accepted.keys()
    for name, was in baseline.accepted.items():
        now = back.accepted[name]
        for field in ("scenario", "serving", "environment", "revision"):
            assert getattr(now, field) == getattr(was, field)
        assert now.metrics.keys() == was.metrics.keys()
        for metric, estimated in was.metrics.items():
            for end in ("value", "low", "high"):
                got = getattr(now.metrics[metric], end)
                assert got == pytest.approx(getattr(estimated, end), rel=5.1e-6, abs=0)
            assert now.metrics[metric].low <= now.metrics[metric].value <= now.metrics[metric].high
        assert (now.rows is None) is (was.rows is None)
        if now.rows is not None and was.rows is not None:
            assert now.rows.data == was.rows.data
            assert np.array_equal(now.rows.right, was.rows.right)


@given(_BASELINES)
def test_writing_again_changes_nothing(baseline: Baseline) -> None:
    """What was read is written as it was, so that a file changes only where a number does."""
    text = json.dumps(baseline.to_json(MACHINE))
    assert json.dumps(Baseline.from_json(json.loads(text)).to_json(MACHINE)) == text


def test_measurements_are_sorted() -> None:
    """Measurements stand in the order of their names, whichever was recorded first."""
    one, other = make_accepted(), make_accepted()
    value = Baseline("t", {"b": one, "": other, "a": one}).to_json(MACHINE)
    assert list(value["measurements"]) == ["", "a", "b"]  # type: ignore[call-overload]


def test_file_can_be_reviewed() -> None:
    """A file carries its schema, its test, the machine, and each figure's unit and direction."""
    value = Baseline("t.py::a", {"": make_accepted({"p99": estimate(0.0123456789)})}).to_json(
        MACHINE
    )
    assert value["schema"] == SCHEMA == 1
    assert value["test"] == "t.py::a"
    assert value["machine"] == dataclasses.asdict(MACHINE)
    accepted = value["measurements"][""]  # type: ignore[index]
    assert accepted["metrics"]["p99"] == {
        "value": 0.0123457,
        "low": 0.0123457,
        "high": 0.0123457,
        "unit": "s",
        "better": "lower",
    }
    assert accepted["commit"] == "0123456789abcdef"
    assert accepted["rows"] is None


def test_metrics_to_json_of_every_metric() -> None:
    """Every metric is written with the unit and the direction of the table."""
    value = metrics_to_json(dict.fromkeys(METRICS, estimate(1.0)))
    assert {n: (v["unit"], v["better"]) for n, v in value.items()} == {
        n: (m.unit, m.better) for n, m in METRICS.items()
    }


@pytest.mark.parametrize(
    ("revision", "text"),
    [
        (Revision("0123456789abcdef", "main", "2026-11-23"), "01234567, 2026-11-23"),
        (Revision("0123456789abcdef+", "", "2026-11-23"), "01234567+, 2026-11-23"),
        (Revision("", "", "2026-11-23"), "2026-11-23"),
    ],
)
def test_revision_text(revision: Revision, text: str) -> None:
    """A revision reads as short commit, with + for uncommitted changes, and day."""
    assert str(revision) == text


def test_accept_keeps_what_is_compared() -> None:
    """What is kept of a measurement is all that a later one is compared with."""
    rows = make_rows([1, 0])
    measurement = make_measurement(scenario="Offline()", serving="Serving(replicas=2)", rows=rows)
    accepted = accept(measurement, ENVIRONMENT, REVISION)
    assert (accepted.scenario, accepted.serving) == ("Offline()", "Serving(replicas=2)")
    assert accepted.metrics == measurement.metrics
    assert accepted.rows is rows
    assert (accepted.environment, accepted.revision) == (ENVIRONMENT, REVISION)
