"""Baseline: plain values in a stable order, and back."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

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
    MOST_SESSIONS,
    SCHEMA,
    Accepted,
    AcceptedSession,
    Baseline,
    Revision,
    accept,
    metrics_to_json,
)
from pytest_dlperf.core.environment import Environment
from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.statistics.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDS = st.tuples(*[st.floats(0, 1e12)] * 3).map(sorted)
_ESTIMATES = _ENDS.map(lambda ends: Estimate(ends[1], ends[0], ends[2]))
_ROWS = st.none() | st.lists(st.booleans(), max_size=20).map(make_rows)
_ENVIRONMENTS = st.builds(Environment, *[st.sampled_from(["", "a"])] * 6)
_REVISIONS = st.builds(Revision, st.text(), st.text(), st.text())
_METRICS = st.dictionaries(st.sampled_from(list(METRICS)), _ESTIMATES)
_YARDSTICKS = st.none() | st.floats(1e-9, 1.0)
_ACCEPTED = st.builds(
    Accepted,
    scenario=st.text(),
    serving=st.text(),
    metrics=_METRICS,
    rows=_ROWS,
    environment=_ENVIRONMENTS,
    revision=_REVISIONS,
    yardstick=_YARDSTICKS,
    earlier=st.lists(
        st.builds(AcceptedSession, _METRICS, _ENVIRONMENTS, _REVISIONS, _YARDSTICKS), max_size=3
    ).map(tuple),
)
_BASELINES = st.builds(Baseline, st.text(), st.dictionaries(st.text(), _ACCEPTED, max_size=3))


def _assert_close(read: Mapping[str, Estimate], written: Mapping[str, Estimate]) -> None:
    assert read.keys() == written.keys()
    for metric, estimated in written.items():
        for end in ("value", "low", "high"):
            got = getattr(read[metric], end)
            assert got == pytest.approx(getattr(estimated, end), rel=5.1e-6, abs=0)


@given(_BASELINES)
def test_round_trip(baseline: Baseline) -> None:
    """A baseline read back is the one written, its figures to six significant digits."""
    back = Baseline.from_json(json.loads(json.dumps(baseline.to_json(MACHINE))))
    assert back.test == baseline.test
    assert back.accepted.keys() == baseline.accepted.keys()
    for name, was in baseline.accepted.items():
        now = back.accepted[name]
        assert (now.scenario, now.serving) == (was.scenario, was.serving)
        for read, written in zip(now.sessions, was.sessions, strict=True):
            assert (read.environment, read.revision) == (written.environment, written.revision)
            assert (read.yardstick is None) is (written.yardstick is None)
            assert (read.yardstick or 0.0) == pytest.approx(written.yardstick or 0.0, rel=5.1e-6)
            _assert_close(read.metrics, written.metrics)
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
    assert value["schema"] == SCHEMA == 2
    assert value["test"] == "t.py::a"
    assert value["machine"] == dataclasses.asdict(MACHINE)
    accepted = value["measurements"][""]  # type: ignore[index]
    assert accepted["units"] == {"p99": "s"}
    assert accepted["rows"] is None
    (session,) = accepted["sessions"]
    assert session["metrics"] == {"p99": 0.0123457}
    assert session["commit"] == "0123456789abcdef"


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


def test_the_first_schema_is_read() -> None:
    """A file of the first version is a baseline of one session, without a yardstick."""
    first: dict[str, Any] = {
        "schema": 1,
        "test": "t.py::a",
        "measurements": {
            "": {
                "commit": "0123456789abcdef",
                "branch": "main",
                "date": "2026-11-23",
                "scenario": "ClosedLoop(clients=64)",
                "serving": "Serving()",
                "slo": None,
                "environment": ENVIRONMENT.to_json(),
                "metrics": metrics_to_json({"p99": Estimate(0.01, 0.009, 0.012)}),
                "rows": make_rows([1, 0]).to_json(),
            }
        },
    }

    (accepted,) = Baseline.from_json(first).accepted.values()

    (session,) = accepted.sessions
    assert session == AcceptedSession({"p99": Estimate(0.01, 0.009, 0.012)}, ENVIRONMENT, REVISION)
    assert accepted.rows is not None


@pytest.mark.parametrize("sessions", [0, MOST_SESSIONS + 1])
def test_as_many_sessions_as_are_kept(sessions: int) -> None:
    """A file without a session, or with more than are ever kept, is none of ours."""
    value: Any = Baseline("t", {"": make_accepted()}).to_json(MACHINE)
    value["measurements"][""]["sessions"] *= sessions

    with pytest.raises(ValueError, match=f"{sessions} sessions: expected 1 to 30"):
        Baseline.from_json(value)


def _session(commit: str) -> Accepted:
    return make_accepted(revision=dataclasses.replace(REVISION, commit=commit))


def test_a_session_follows_what_is_stored_by_now() -> None:
    """What another run has stored meanwhile is kept, and nothing is stored twice."""
    first, second, third = map(_session, "abc")
    stored = dataclasses.replace(second, earlier=first.sessions)
    meant = dataclasses.replace(third, earlier=first.sessions)

    following = meant.following(stored)

    assert [one.revision.commit for one in following.sessions] == ["a", "b", "c"]
    assert following.following(following) == following
    assert third.following(stored) == third
    assert meant.following(None) == meant
