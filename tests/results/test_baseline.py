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
    continued,
    estimate,
    make_accepted,
    make_measurement,
    make_rows,
    with_session,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dlperf.metrics import METRICS, define, metric_named, users_metric
from pytest_dlperf.results.baseline import MOST_SESSIONS, SCHEMA, Baseline, BaselineEntry, accept
from pytest_dlperf.results.baseline_session import BaselineSession, Revision
from pytest_dlperf.results.environment import Environment
from pytest_dlperf.results.row_evidence import RowScores
from pytest_dlperf.results.series import BlockSummary, Series
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ENDS = st.tuples(*[st.floats(1e-300, 1e12)] * 3).map(sorted)
_ESTIMATES = _ENDS.map(lambda ends: Estimate(ends[1], ends[0], ends[2]))
_ROWS = st.none() | st.lists(st.booleans(), max_size=20).map(make_rows)
_ENVIRONMENTS = st.builds(Environment, *[st.sampled_from(["", "a"])] * 6)
_DAYS = st.dates().map(str)
_REVISIONS = st.builds(Revision, st.text(), st.text(), _DAYS)
_METRICS = st.dictionaries(st.sampled_from(list(METRICS)), _ESTIMATES)
_YARDSTICKS = st.none() | st.builds(Pace, *[st.floats(1e-9, 1.0)] * 2)
_BLOCKS = st.none() | st.builds(BlockSummary, st.integers(1, 1000), st.floats(0, 10))
_SESSIONS = st.builds(BaselineSession, _METRICS, _ENVIRONMENTS, _REVISIONS, _YARDSTICKS, _BLOCKS)
_UNANCHORED = st.builds(
    BaselineEntry,
    scenario=st.text(),
    serving=st.text(),
    sessions=st.lists(_SESSIONS, min_size=1, max_size=4).map(tuple),
    rows=_ROWS,
    seeds=st.lists(st.sampled_from([0.5, 0.75]), max_size=3).map(tuple),
)


@st.composite
def _anchored(draw: st.DrawFn) -> BaselineEntry:
    """With an anchor that is one of the sessions, or apart, or none."""
    accepted = draw(_UNANCHORED)
    among = st.sampled_from(accepted.sessions)
    anchor, changes = draw(
        st.one_of(
            st.tuples(st.none(), st.just(0)),
            st.tuples(among, st.just(0)),
            st.tuples(_SESSIONS, st.integers(0, 99)),
        )
    )
    return dataclasses.replace(accepted, anchor=anchor, changes=changes)


_ACCEPTED = _anchored()
_BASELINES = st.builds(Baseline, st.text(), st.dictionaries(st.text(), _ACCEPTED, max_size=3))


def _assert_close(read: Mapping[str, Estimate], written: Mapping[str, Estimate]) -> None:
    assert read.keys() == written.keys()
    for metric, estimated in written.items():
        for end in ("value", "low", "high"):
            got = getattr(read[metric], end)
            assert got == pytest.approx(getattr(estimated, end), rel=5.1e-6, abs=0)


def _assert_like(read: BaselineSession, written: BaselineSession) -> None:
    """The same, but for the digits that a file has room for."""
    assert (read.environment, read.revision) == (written.environment, written.revision)
    assert (read.yardstick is None) is (written.yardstick is None)
    if read.yardstick is not None and written.yardstick is not None:
        wanted = dataclasses.astuple(written.yardstick)
        assert dataclasses.astuple(read.yardstick) == pytest.approx(wanted, rel=5.1e-6)
    assert (read.blocks is None) is (written.blocks is None)
    if read.blocks is not None and written.blocks is not None:
        assert read.blocks.count == written.blocks.count
        assert read.blocks.spread == pytest.approx(written.blocks.spread, rel=5.1e-6)
    _assert_close(read.metrics, written.metrics)


@settings(max_examples=50)
@given(_BASELINES)
def test_round_trip(baseline: Baseline) -> None:
    """A baseline read back is the one written, to six digits; written again it is the same."""
    text = json.dumps(baseline.to_json(MACHINE))
    back = Baseline.from_json(json.loads(text))
    assert json.dumps(back.to_json(MACHINE)) == text
    assert back.test == baseline.test
    assert back.accepted.keys() == baseline.accepted.keys()
    for name, was in baseline.accepted.items():
        now = back.accepted[name]
        assert (now.scenario, now.serving) == (was.scenario, was.serving)
        for read, written in zip(now.sessions, was.sessions, strict=True):
            _assert_like(read, written)
        assert (now.anchor is None) is (was.anchor is None)
        assert (now.changes, now.seeds) == (was.changes, was.seeds)
        if now.anchor is not None and was.anchor is not None:
            _assert_like(now.anchor, was.anchor)
        assert (now.rows is None) is (was.rows is None)
        if now.rows is not None and was.rows is not None:
            assert now.rows.data == was.rows.data
            assert np.array_equal(now.rows.right, was.rows.right)


def test_measurements_are_sorted() -> None:
    """Measurements are sorted by name."""
    first, second = make_accepted(), make_accepted()
    value = Baseline("t", {"b": first, "": second, "a": first}).to_json(MACHINE)
    assert list(value["measurements"]) == ["", "a", "b"]  # type: ignore[call-overload]


def test_file_can_be_reviewed() -> None:
    """A file has its schema, test and machine, and each value's unit."""
    value = Baseline("t.py::a", {"": make_accepted({"p99": estimate(0.0123456789)})}).to_json(
        MACHINE
    )
    assert value["schema"] == SCHEMA == 3
    assert value["test"] == "t.py::a"
    assert value["machine"] == dataclasses.asdict(MACHINE)
    accepted = value["measurements"][""]  # type: ignore[index]
    assert accepted["units"] == {"p99": "s"}
    assert accepted["rows"] is None
    (session,) = accepted["sessions"]
    assert session["metrics"] == {"p99": 0.0123457}
    assert session["commit"] == "0123456789abcdef"


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
    """A baseline keeps all that a later measurement is compared with."""
    rows = make_rows([1, 0])
    measurement = make_measurement(scenario="Offline()", serving="Serving(replicas=2)", rows=rows)
    accepted = accept(measurement, ENVIRONMENT, REVISION)
    assert (accepted.scenario, accepted.serving) == ("Offline()", "Serving(replicas=2)")
    assert accepted.metrics == measurement.metrics
    assert accepted.rows is rows
    assert (accepted.environment, accepted.revision) == (ENVIRONMENT, REVISION)


@pytest.mark.parametrize("sessions", [0, MOST_SESSIONS + 1])
def test_number_of_sessions(sessions: int) -> None:
    """A file without a session, or with more than are kept, is refused."""
    value: Any = Baseline("t", {"": make_accepted()}).to_json(MACHINE)
    value["measurements"][""]["sessions"] *= sessions

    with pytest.raises(ValueError, match=f"{sessions} sessions: expected 1 to 30"):
        Baseline.from_json(value)


def _session(commit: str) -> BaselineEntry:
    return make_accepted(revision=dataclasses.replace(REVISION, commit=commit))


def test_a_session_follows_what_is_stored_by_now() -> None:
    """What another run has stored meanwhile is kept, and nothing is stored twice."""
    first, second, third = map(_session, "abc")
    stored = continued(first.sessions, second)
    meant = continued(first.sessions, third)

    following = meant.following(stored)

    assert [session.revision.commit for session in following.sessions] == ["a", "b", "c"]
    assert following.following(following) == following
    assert third.following(stored) == third
    assert meant.following(None) == meant


ANCHORED = accept(make_measurement(), ENVIRONMENT, dataclasses.replace(REVISION, commit="first"))


def _next(commit: str, **fields: Any) -> BaselineEntry:  # noqa: ANN401 - any field
    """A session of another commit, accepted on its own."""
    revision = dataclasses.replace(REVISION, commit=commit)
    return accept(make_measurement(**fields), ENVIRONMENT, revision)


def test_the_first_session_is_the_anchor() -> None:
    """The first session is the reference for gradual changes."""
    assert ANCHORED.anchor == ANCHORED.newest
    assert ANCHORED.to_json()["sessions"][0]["anchor"] is True  # type: ignore[index]


def test_the_anchor_stays() -> None:
    """It stays when sessions join, when it is older than all that are kept, and over changes."""
    accepted = ANCHORED
    for number in range(MOST_SESSIONS + 2):
        accepted = continued(accepted.sessions, _next(f"s{number}")).following(accepted)
        assert (accepted.anchor, accepted.changes) == (ANCHORED.newest, 0)
    assert accepted.anchor not in accepted.sessions
    for changes in range(1, 11):
        accepted = _next(f"c{changes}").following(accepted)
        assert len(accepted.sessions) == 1
        assert (accepted.anchor, accepted.changes) == (ANCHORED.newest, changes)
    assert accepted.to_json()["anchor"]["commit"] == "first"  # type: ignore[index]
    assert accepted.to_json()["anchor"]["changes"] == 10  # type: ignore[index]


@pytest.mark.parametrize(
    "other",
    [
        _next("other", scenario="Offline()"),
        _next("other", serving="Serving(replicas=2)"),
        _next("other", slo=0.02),
        with_session(
            _next("other"), environment=dataclasses.replace(ENVIRONMENT, precision="f16")
        ).anchored(),
    ],
    ids=["scenario", "serving", "slo", "precision"],
)
def test_other_conditions_have_another_anchor(other: BaselineEntry) -> None:
    """An entry that cannot be compared with the anchor becomes the new one."""
    changed = _next("c1").following(ANCHORED)

    assert not other.comparable(changed)
    replaced = other.following(changed)
    assert (replaced.anchor, replaced.changes) == (other.newest, 0)


def test_another_version_keeps_the_anchor() -> None:
    """A new version of TensorFlow keeps the anchor, so that a slowdown shows."""
    upgraded = with_session(
        _next("c1"), environment=dataclasses.replace(ENVIRONMENT, tensorflow="2.19.0")
    )

    assert upgraded.following(ANCHORED).anchor == ANCHORED.newest


def test_moving_the_anchor() -> None:
    """The newest session becomes the anchor, and no change has been accepted since."""
    changed = _next("c1").following(ANCHORED)

    moved = changed.anchored()

    assert (moved.anchor, moved.changes) == (changed.newest, 0)
    assert moved.sessions == changed.sessions
    assert moved.following(changed) == moved


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: v["sessions"][1].update(anchor=True), "2 sessions are marked as the anchor"),
        (lambda v: v.update(anchor={**v["sessions"][0], "changes": 1}), "2 sessions are marked"),
        (lambda v: v["sessions"][0].update(anchor="yes"), "anchor 'yes' of a session"),
        (lambda v: _apart(v).update(changes=-1), "-1 changes since the anchor"),
        (lambda v: _apart(v).update(changes="2"), "'2' changes since the anchor"),
        (lambda v: _apart(v).pop("changes"), "changes"),
        (lambda v: _apart(v).pop("environment"), "environment"),
        (lambda v: v["sessions"][0].update(blocks=[50, 0.1]), "no summary of blocks"),
        (lambda v: v["sessions"][0].update(blocks={"count": 0, "spread": 0.1}), "0 blocks"),
        (lambda v: v["sessions"][0].update(blocks={"count": 9, "spread": -1}), "spread of -1"),
        (lambda v: v["sessions"][0].update(date="yesterday"), "'yesterday' is no day"),
        (lambda v: v["sessions"][0]["metrics"].update(throughput=[0, 0, 0]), "0 a second"),
        (
            lambda v: v["sessions"][0]["metrics"].update(p50=[2, 3, 4]),
            "2.0 is not within the interval",
        ),
    ],
)
def test_a_damaged_entry(damage: Callable[[dict[str, Any]], object], message: str) -> None:
    """An anchor, a figure or a day that makes no sense is refused, never guessed at."""
    accepted = dataclasses.replace(continued(ANCHORED.sessions, _next("b")), anchor=ANCHORED.newest)
    value = json.loads(json.dumps(accepted.to_json()))
    damage(value)

    with pytest.raises((KeyError, ValueError), match=message):
        BaselineEntry.from_json(value)


def _apart(value: dict[str, Any]) -> dict[str, Any]:
    """The anchor, moved out of the sessions."""
    session = {**value["sessions"][0], "changes": 2}
    del value["sessions"][0]["anchor"], session["anchor"]
    value["anchor"] = session
    return session


def test_blocks_are_summed_up() -> None:
    """A session has a summary of its blocks, unless it was too short."""
    rates = tuple(1000.0 * (1.01 if number % 2 else 0.99) for number in range(50))
    nothing = (None,) * 50
    series = Series(tuple(map(float, range(50))), rates, nothing, nothing, nothing)

    accepted = accept(make_measurement(series=series), ENVIRONMENT, REVISION)

    blocks = accepted.newest.blocks
    assert blocks is not None
    assert blocks.count == 50
    assert blocks.spread == pytest.approx(1.4826 * 0.01, rel=0.01)
    assert accept(make_measurement(), ENVIRONMENT, REVISION).newest.blocks is None


def _with_ndcg() -> Baseline:
    """A baseline with a users' metric in its newest session and in its anchor, not between."""
    define(users_metric("ndcg", "share", "higher", 0.02))
    metrics = {"throughput": counted(1000.0), "ndcg": counted(0.375)}
    newest = make_accepted(metrics, scores=RowScores("d", {"ndcg": np.array([0.5, 0.25])}))
    apart = dataclasses.replace(newest.newest, metrics={"ndcg": counted(0.5)})
    accepted = continued(make_accepted().sessions, newest)
    accepted = dataclasses.replace(accepted, anchor=apart, changes=2)
    return Baseline("t", {"": accepted})


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users' metrics are stored with their definitions and the scores of all rows."""
    baseline = _with_ndcg()
    text = json.dumps(baseline.to_json(MACHINE))
    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})

    back = Baseline.from_json(json.loads(text))

    assert metric_named("ndcg").detect == 0.02
    now, was = back.accepted[""], baseline.accepted[""]
    assert [dict(session.metrics) for session in now.sessions] == [
        dict(session.metrics) for session in was.sessions
    ]
    assert now.anchor == was.anchor
    assert now.scores is not None
    assert now.scores.scores["ndcg"].tolist() == [0.5, 0.25]
    assert json.dumps(back.to_json(MACHINE)) == text


@pytest.mark.usefixtures("own_metrics")
def test_a_redefined_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric with another direction by now is left out, so its verdict is NEW."""
    value = json.loads(json.dumps(_with_ndcg().to_json(MACHINE)))
    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})
    define(users_metric("ndcg", "share", "lower", 0.02))

    now = Baseline.from_json(value).accepted[""]

    assert [set(session.metrics) for session in now.sessions] == [
        {"throughput", "errors"},
        {"throughput"},
    ]
    assert now.scores is None
    assert now.anchor is not None
    assert not now.anchor.metrics


def test_files_without_users_metrics() -> None:
    """Without users' metrics the file has no key for them."""
    stored = make_accepted().to_json()
    assert not {"definitions", "scores", "seeds"} & stored.keys()


def test_an_earlier_yardstick_is_left_out() -> None:
    """A plain number had another unit: such a session is compared as one without a yardstick."""
    accepted = make_accepted(yardstick=1e-4)
    value = accepted.to_json()
    value["sessions"][0]["yardstick"] = 5.4e-06

    read = BaselineEntry.from_json(value)

    assert read.newest.yardstick is None
    assert read.newest.metrics == accepted.newest.metrics
