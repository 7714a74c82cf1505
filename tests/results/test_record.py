"""Record: a measurement with its judgements, as it travels."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from builders import MACHINE, make_judgement, make_measurement, make_record, make_rows
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.metrics import METRICS, define, find_metric, metric_named, users_metric
from pytest_dlperf.results.measurement import ErrorCount, Measurement
from pytest_dlperf.results.record import (
    Record,
    record_from_json,
    record_to_json,
    report_to_json,
)
from pytest_dlperf.results.row_evidence import RowScores
from pytest_dlperf.results.series import Series
from pytest_dlperf.results.usage import Consumption, GpuUse
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.statistics.estimate import Estimate

GRAVITY = [Verdict.PASS, Verdict.NEW, Verdict.INCONCLUSIVE, Verdict.INVALID, Verdict.FAIL]

_NUMBERS = st.floats(0, 1e9)
_EXACT = st.integers(0, 999_999).map(float)  # six digits survive the rounding of metrics


def _estimates(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Estimate]:
    ordered = st.lists(numbers, min_size=3, max_size=3).map(sorted)
    return ordered.map(lambda three: Estimate(value=three[1], low=three[0], high=three[2]))


def _series(points: int) -> st.SearchStrategy[Series]:
    def column(numbers: st.SearchStrategy[float | None]) -> st.SearchStrategy[tuple[object, ...]]:
        return st.lists(numbers, min_size=points, max_size=points).map(tuple)

    optional = column(st.none() | _NUMBERS)
    return st.builds(Series, column(_NUMBERS), column(_NUMBERS), optional, optional, optional)


_METRICS = st.dictionaries(st.sampled_from(list(METRICS)), _estimates(_EXACT))
_JUDGEMENTS = st.builds(
    Judgement,
    budget=st.text(),
    metric=st.sampled_from(list(METRICS)),
    verdict=st.sampled_from(Verdict),
    measured=st.none() | _estimates(_NUMBERS),
    limit=st.none() | _NUMBERS,
    baseline=st.none() | _NUMBERS,
    fails_at=st.none() | _NUMBERS,
    reason=st.text(),
    lasting=st.booleans(),
    revision=st.text(),
    improved=st.booleans(),
)
_MEASUREMENTS = st.builds(
    Measurement,
    test=st.text(),
    name=st.text(),
    target=st.text(),
    scenario=st.text(),
    serving=st.text(),
    seconds=_NUMBERS,
    requests=st.integers(0, 10**9),
    metrics=_METRICS,
    refused=st.dictionaries(st.text(), st.text(), max_size=2),
    unbounded=st.dictionaries(st.text(), st.text(), max_size=2),
    at_least=st.dictionaries(st.text(), _NUMBERS, max_size=2),
    errors=st.lists(st.builds(ErrorCount, st.text(), st.integers(0), st.text()), max_size=2).map(
        tuple
    ),
    rows=st.none(),
    invalid=st.text(),
    notes=st.lists(st.text(), max_size=2).map(tuple),
    diagnosis=st.text(),
    intervals=st.text(),
    hung=st.text(),
    batch_sizes=st.dictionaries(st.integers(1, 10**6), st.integers(1, 10**9), max_size=3),
    utilisation=st.lists(_NUMBERS, max_size=3).map(tuple),
    seeds=st.lists(_NUMBERS, max_size=3).map(tuple),
    series=st.integers(0, 3).flatmap(_series),
    usage=st.none()
    | st.builds(
        Consumption,
        cpu_per_request=_NUMBERS,
        busy_cores=_NUMBERS,
        resident_bytes=st.integers(0),
        peak_bytes=st.integers(0),
        others=st.none() | _NUMBERS,
        stolen=st.none() | _NUMBERS,
    ),
    gpus=st.lists(
        st.builds(
            GpuUse,
            index=st.integers(0, 15),
            name=st.text(),
            utilisation=st.none() | _NUMBERS,
            peak_bytes=st.none() | st.integers(0),
            lowest_clock_hz=st.none() | st.integers(0),
            highest_clock_hz=st.none() | st.integers(0),
            throttled=st.lists(st.text(), max_size=2).map(tuple),
            others=st.none() | st.integers(0),
        ),
        max_size=2,
    ).map(tuple),
)
_RECORDS = st.builds(
    Record,
    measurement=_MEASUREMENTS,
    judgements=st.lists(_JUDGEMENTS, max_size=3).map(tuple),
    hints=st.lists(st.text(), max_size=2).map(tuple),
    quick=st.booleans(),
    kept=st.sampled_from(["", "follow", "renew"]),
    basis=st.text(),
)


@given(_RECORDS)
def test_round_trip(record: Record) -> None:
    """A record survives JSON whole."""
    text = json.dumps(record_to_json(record), allow_nan=False)
    assert record_from_json(json.loads(text)) == record


def test_an_open_interval_survives_json() -> None:
    """An estimate without an upper bound has `null` there, in metrics and in verdicts."""
    estimate = Estimate(3.0, 2.0, math.inf)
    judgement = make_judgement(Verdict.INCONCLUSIVE, measured=estimate)
    record = make_record(
        judgement, measurement=make_measurement({"p99": estimate}, unbounded={"p99": "10 s"})
    )

    text = json.dumps(record_to_json(record), allow_nan=False)

    assert json.loads(text)["metrics"]["p99"]["high"] is None
    assert record_from_json(json.loads(text)) == record


def test_rows_round_trip() -> None:
    """The evidence for accuracy survives JSON, even for no rows at all."""
    for right in ([1, 0, 1], []):
        record = make_record(measurement=make_measurement(rows=make_rows(right, data="abc")))
        back = record_from_json(json.loads(json.dumps(record_to_json(record)))).measurement.rows
        assert back is not None
        assert back.data == "abc"
        assert np.array_equal(back.right, np.array(right, bool))


@pytest.mark.parametrize(
    "verdicts", [v for n in (1, 2, 3) for v in itertools.product(Verdict, repeat=n)]
)
def test_gravest_verdict(verdicts: tuple[Verdict, ...]) -> None:
    """A record's verdict is the gravest of its budgets: a FAIL is never hidden by another."""
    record = make_record(*(make_judgement(verdict) for verdict in verdicts))
    assert record.verdict is GRAVITY[max(GRAVITY.index(verdict) for verdict in verdicts)]


def test_nothing_judged_is_a_pass() -> None:
    """A record without budgets is a PASS."""
    assert make_record().verdict is Verdict.PASS


def test_report() -> None:
    """The report has a schema, where and with what it was measured, and each record in order."""
    records = [make_record(measurement=make_measurement(name=name)) for name in ("b", "a")]
    value = report_to_json(records, MACHINE.to_json(), {"python": "3.11"}, "abc+")
    assert value["schema"] == 1
    assert (value["environment"], value["commit"]) == ({"python": "3.11"}, "abc+")
    assert value["machine"] == MACHINE.to_json()
    assert [m["name"] for m in value["measurements"]] == ["b", "a"]  # type: ignore[attr-defined]


def test_verdict_in_json_by_hand() -> None:
    """A judgement is written flat, with the value and its interval."""
    judgement = make_judgement(
        Verdict.FAIL, measured=Estimate(3.0, 2.0, 4.0), limit=5.0, baseline=6.0, revision="abc"
    )
    (value,) = record_to_json(make_record(judgement))["verdicts"]  # type: ignore[misc]
    assert value == {
        "budget": "throughput >= 900/s",
        "metric": "throughput",
        "verdict": "FAIL",
        "value": 3.0,
        "low": 2.0,
        "high": 4.0,
        "limit": 5.0,
        "baseline": 6.0,
        "baseline_revision": "abc",
        "fails_at": None,
        "reason": "",
        "lasting": False,
        "improved": False,
        "change": None,
        "excluded": None,
        "proven": None,
        "base_broken": False,
    }


@pytest.mark.parametrize("field", sorted(record_to_json(make_record())))
def test_missing_field(field: str) -> None:
    """A record with a field missing is refused, not filled with something."""
    value = record_to_json(make_record(make_judgement()))
    del value[field]
    with pytest.raises(KeyError, match=field):
        record_from_json(value)


@pytest.mark.parametrize(
    "place",
    [
        *(("test",), ("name",), ("hints", 0), ("notes", 0), ("usage", "others"), ("yardstick",)),
        *(("verdicts", 0, "metric"), ("verdicts", 0, "reason"), ("verdicts", 0, "fails_at")),
        ("series", "rate", 0),
    ],
)
@pytest.mark.parametrize("wrong", [[], {"a": 1}, True])
def test_a_value_of_another_kind(place: tuple[str | int, ...], wrong: object) -> None:
    """It is refused when the file is read, not met with a traceback in a table later."""
    usage = Consumption(0.0, 0.0, 0, 0, 0.0, 0.0)
    series = Series((0.0,), (1.0,), (None,), (None,), (None,))
    measurement = make_measurement(notes=("a note",), usage=usage, series=series)
    record = dataclasses.replace(make_record(make_judgement()), hints=("a hint",))
    value = record_to_json(dataclasses.replace(record, measurement=measurement))
    inner: Any = value
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = wrong
    with pytest.raises(ValueError, match="expected"):
        record_from_json(value)


def test_columns_by_hand() -> None:
    """Batch sizes, utilisation and series are plain columns and keys."""
    series = Series((0.0, 0.1), (5.0, 0.0), (1e-3, None), (2e-3, None), (0.0, None))
    measurement = make_measurement(batch_sizes={8: 3}, utilisation=(0.5,), series=series)

    value = record_to_json(make_record(measurement=measurement))

    assert value["batch_sizes"] == {"8": 3}
    assert value["utilisation"] == [0.5]
    assert value["series"] == {
        "seconds": [0.0, 0.1],
        "rate": [5.0, 0.0],
        "p50": [0.001, None],
        "p99": [0.002, None],
        "queue": [0.0, None],
    }


def _own_record() -> Record:
    """A record with a users' metric that was measured, one that was not, and a goal missed."""
    for name in ("ndcg", "recall"):
        define(users_metric(name, "share", "higher", 0.02))
    scores = RowScores("d", {"ndcg": np.array([0.5, 0.25, np.nan])})
    measurement = make_measurement(
        {"ndcg": Estimate(0.375, 0.25, 0.5)},
        scores=scores,
        refused={"recall": "no request was answered well"},
        missed={"train.time_to_accuracy(95%)": "never reached 95 %"},
    )
    verdict = make_judgement(Verdict.FAIL, budget="recall >= 1%", metric="recall")
    return make_record(verdict, measurement=measurement)


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without the definitions reads them, and the scores of all rows."""
    record = _own_record()
    value = json.loads(json.dumps(record_to_json(record), allow_nan=False))
    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})
    assert find_metric("ndcg") is None

    read = record_from_json(value)

    assert read.measurement.metrics == record.measurement.metrics
    assert read.measurement.missed == record.measurement.missed
    assert (metric_named("recall").unit, metric_named("ndcg").detect) == ("share", 0.02)
    was, now = record.measurement.scores, read.measurement.scores
    assert was is not None
    assert now is not None
    assert now.data == "d"
    np.testing.assert_array_equal(now.scores["ndcg"], was.scores["ndcg"])
    assert record_to_json(read) == value


@pytest.mark.usefixtures("own_metrics")
def test_a_redefined_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its values are left out; a record with a verdict on it is refused."""
    value = record_to_json(_own_record())
    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})
    define(users_metric("ndcg", "1", "higher", 0.02))
    read = record_from_json(value)
    assert not read.measurement.metrics
    assert read.measurement.scores is None
    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})
    define(users_metric("recall", "share", "lower", 0.02))
    with pytest.raises(ValueError, match="'recall' has another unit or direction here"):
        record_from_json(value)
