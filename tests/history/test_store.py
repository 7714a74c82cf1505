"""Queries of the history, its sessions as baselines, and damaged rows."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, MACHINE, continued, estimate, make_accepted, make_rows, numbered
from entries import TEST, make_entry, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dlperf.errors import HistoryError
from pytest_dlperf.history.entries import Entry, MeasurementId, Query, Run, Selection
from pytest_dlperf.history.store import HistoryBaselines, open_history
from pytest_dlperf.metrics import METRICS, define, metric_named, users_metric
from pytest_dlperf.results.baseline import MOST_SESSIONS, BaselineEntry
from pytest_dlperf.results.row_evidence import RowScores, fingerprints
from pytest_dlperf.results.series import BlockSummary
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres_server import PostgresServer

    from pytest_dlperf.history.store import History


OTHER = dataclasses.replace(MACHINE, cores=64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of a SQLite file that does not exist."""
    return tmp_path / "history.sqlite"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    """A new history in that file."""
    with closing(open_history(f"sqlite:///{path}")) as opened:
        yield opened


def _entry(run: Run, test: str = TEST, name: str = "", **fields: Any) -> Entry:  # noqa: ANN401 - any field
    """An entry whose yardstick is the number of its run."""
    return make_entry(run=run, test=test, name=name, yardstick=float(int(run.key, 16)), **fields)


RUNS = [
    make_run(1, "a"),
    make_run(2, "a+"),
    make_run(3, "b", "work"),
    make_run(4, "a", machine=OTHER),
    dataclasses.replace(make_run(5, "", ""), began=make_run(3).began),
    dataclasses.replace(make_run(6, "b"), began=make_run(1).began),
]
_ENTRIES = st.lists(
    st.builds(
        _entry,
        st.sampled_from(RUNS),
        st.sampled_from([TEST, "u"]),
        st.sampled_from(["", "big"]),
        verdict=st.sampled_from(Verdict),
        renews=st.booleans(),
        noise=st.sampled_from(["", "other processes took 30% of the processors"]),
    ),
    max_size=15,
)
_QUERIES = st.builds(
    Query,
    test=st.none() | st.sampled_from([TEST, "u", "v"]),
    name=st.none() | st.sampled_from(["", "big", "small"]),
    machine=st.none() | st.sampled_from([MACHINE.slug, OTHER.slug]),
    branch=st.none() | st.sampled_from(["main", "work", ""]),
    commits=st.none() | st.lists(st.sampled_from(["a", "b", ""]), max_size=2).map(tuple),
    run=st.none() | st.sampled_from([run.key for run in RUNS]),
    verdicts=st.none() | st.lists(st.sampled_from(Verdict), max_size=3).map(tuple),
    acceptable=st.booleans(),
    limit=st.none() | st.integers(0, 5),
)


def _matches(entry: Entry, query: Query) -> bool:
    revision = entry.run.revision
    return all(
        (
            query.test in {None, entry.test},
            query.name in {None, entry.name},
            query.machine in {None, entry.run.machine.slug},
            query.branch in {None, revision.branch},
            query.commits is None or revision.commit in query.commits,
            query.run in {None, entry.run.key},
            query.verdicts is None or entry.verdict in query.verdicts,
            entry.acceptable or not query.acceptable,
        )
    )


def _expected(added: list[Entry], query: Query) -> tuple[Entry, ...]:
    """The result of a query, by its definition."""
    kept: dict[tuple[str, str, str], Entry] = {}
    for entry in added:
        key = entry.run.key, entry.test, entry.name
        kept.pop(key, None)
        kept[key] = entry
    matching = [entry for entry in reversed(kept.values()) if _matches(entry, query)]
    return tuple(sorted(matching, key=lambda entry: -entry.run.began)[: query.limit])


def _check_queries(history: History, added: list[Entry], queries: list[Query]) -> None:
    for entry in added:
        history.add(entry)
    for query in queries:
        assert history.entries(query) == _expected(added, query)
        unlimited = dataclasses.replace(query, limit=None)
        matching = _expected(added, unlimited)
        runs = {entry.run.key: entry.run.began for entry in matching}
        assert {run.key for run in history.runs(unlimited)} == set(runs)
        newest = [run.began for run in history.runs(query)]
        assert newest == sorted(runs.values(), reverse=True)[: query.limit]
        keys = history.measurements(query)
        assert len(keys) == len(set(keys))
        assert set(keys) == {MeasurementId(e.test, e.name, e.run.machine) for e in matching}
    for test in (TEST, "u", "v"):
        names = {entry.name for entry in added if entry.test == test}
        assert history.names(test) == tuple(sorted(names))


@settings(max_examples=60)
@given(_ENTRIES, st.lists(_QUERIES, min_size=1, max_size=4))
def test_queries_of_sqlite(
    tmp_path_factory: pytest.TempPathFactory, added: list[Entry], queries: list[Query]
) -> None:
    """A query has the entries that match it, newest first, without replaced ones."""
    path = tmp_path_factory.mktemp("history") / "h.sqlite"
    with closing(open_history(f"sqlite:///{path}")) as history:
        _check_queries(history, added, queries)


def test_queries_of_postgres(postgres_server: PostgresServer) -> None:
    """The same of a PostgreSQL server."""
    url = postgres_server.new_database()
    database = url.partition("@/")[2].partition("?")[0]
    with closing(open_history(url)) as history:

        @settings(max_examples=30)
        @given(_ENTRIES, st.lists(_QUERIES, min_size=1, max_size=4))
        def check(added: list[Entry], queries: list[Query]) -> None:
            postgres_server.execute(database, "TRUNCATE dlperf_runs, dlperf_tests CASCADE")
            _check_queries(history, added, queries)

        check()


@pytest.mark.parametrize("positions", [None, np.array([1, 2, 3, 0, 300, 4, 1, 1, 2])])
def test_an_entry_is_kept_whole(history: History, positions: np.ndarray | None) -> None:
    """Every field of an entry is read as it was stored, numbers to the last bit."""
    run = make_run(1, "0123+", "feature/ü")
    rows = make_rows([1, 0, 1, 1, 0, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1, 0, 0], data="abc")
    if positions is not None:
        rows = dataclasses.replace(rows, right=positions // 2, positions=positions)
    result = make_accepted(
        {name: estimate(1 / 3, 1 / 7) for name in METRICS},
        scenario="Server(1000.0)",
        serving="Serving(replicas=2)",
        rows=rows,
        environment=dataclasses.replace(ENVIRONMENT, threads="OMP_NUM_THREADS=1"),
        revision=run.revision,
        slo=1 / 3,
        yardstick=Pace(1 / 7, 1 / 9),
        blocks=BlockSummary(50, 0.02),
        answers=fingerprints(rows, None),
    )
    entry = Entry(run, "t\ud800\0\x1b[x]\n", "ü\x1b", Verdict.INCONCLUSIVE, result, renews=True)
    history.add(entry)
    (read,) = history.entries(Query())
    assert list(read.result.metrics) == list(METRICS)
    assert read.result.rows is not None
    assert read.result.rows.to_json() == rows.to_json()
    stored, added = (dataclasses.replace(e.result, rows=None) for e in (read, entry))
    assert dataclasses.replace(read, result=stored) == dataclasses.replace(entry, result=added)


def with_ndcg(scores: list[float], **fields: Any) -> BaselineEntry:  # noqa: ANN401 - any field
    """A result with a users' metric."""
    define(users_metric("ndcg", "share", "higher", 0.02))
    row_scores = RowScores("d", {"ndcg": np.array(scores)})
    metrics = {"throughput": estimate(1000.0), "ndcg": estimate(0.375), "errors": estimate(0.0)}
    return make_accepted(metrics, scores=row_scores, **fields)


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics_are_kept(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """With definitions, for processes that do not have them, and the scores of their rows."""
    history.add(dataclasses.replace(_entry(make_run(1)), result=with_ndcg([0.5, 0.25, 1.0])))
    history.add(dataclasses.replace(_entry(make_run(2)), result=with_ndcg([1.0, 0.0])))
    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})

    results = [entry.result for entry in history.entries(Query())]

    assert metric_named("ndcg").detect == 0.02
    assert [list(result.metrics) for result in results] == [["throughput", "errors", "ndcg"]] * 2
    scores = [result.scores.scores["ndcg"].tolist() for result in results if result.scores]
    assert scores == [[1.0, 0.0], [0.5, 0.25, 1.0]]
    monkeypatch.setattr("pytest_dlperf.metrics._read", {})
    define(users_metric("ndcg", "1", "higher", 0.02))
    results = [entry.result for entry in history.entries(Query())]
    assert [(list(result.metrics), result.scores) for result in results] == [
        (["throughput", "errors"], None)
    ] * 2


@pytest.mark.usefixtures("own_metrics")
def test_a_replaced_entry_leaves_nothing(history: History, path: Path) -> None:
    """Its metrics, bits and scores are deleted."""
    entry = _entry(make_run(1))
    result = with_ndcg([0.5], rows=make_rows([1]), yardstick=1.0)
    for _ in range(3):
        history.add(dataclasses.replace(entry, result=result))
    history.add(dataclasses.replace(entry, result=make_accepted({})))
    with closing(sqlite3.connect(path)) as connection:
        for table in ("metrics", "rows", "users_metrics"):
            count = connection.execute(f"SELECT count(*) FROM dlperf_{table}")  # noqa: S608 - fixed
            assert count.fetchone() == (0,)


def test_node_ids_of_any_length(history: History) -> None:
    """A node id may be longer than the key of an index."""
    test = f"t[{'x' * 100_000}]"
    history.add(_entry(make_run(1), test))
    assert [entry.test for entry in history.entries(Query(test=test))] == [test]


class TestBaselines:
    """The history's sessions as baselines."""

    @staticmethod
    def _yardsticks(
        history: History, selection: Selection, name: str = "", run: Run | None = None
    ) -> list[float]:
        store = HistoryBaselines(history, run or make_run(999), selection)
        baseline = store.load(TEST)
        accepted = baseline.accepted.get(name) if baseline else None
        return numbered(accepted.sessions) if accepted else []

    def test_a_branch_is_compared_with_its_own(self, history: History) -> None:
        """Not with other branches or on other machine classes."""
        history.add(_entry(make_run(1)))
        history.add(_entry(make_run(2, branch="work")))
        history.add(_entry(make_run(3, machine=OTHER)))
        history.add(_entry(make_run(4)))
        assert self._yardsticks(history, Selection("main")) == [1, 4]
        assert self._yardsticks(history, Selection("work")) == [2]
        assert self._yardsticks(history, Selection("other")) == []

    def test_a_run_is_not_compared_with_itself(self, history: History) -> None:
        """What a run measured is not its own baseline."""
        run = make_run(2)
        history.add(_entry(make_run(1)))
        history.add(_entry(run))
        assert self._yardsticks(history, Selection("main"), run=run) == [1]

    def test_entries_that_are_not_acceptable(self, history: History) -> None:
        """Runs that failed, or of uncommitted code, are left out, however many there are."""
        history.add(_entry(make_run(1)))
        for number in range(2, 3 * MOST_SESSIONS):
            history.add(_entry(make_run(number), verdict=Verdict.FAIL))
            history.add(_entry(make_run(1000 + number, "c+")))
        assert self._yardsticks(history, Selection("main")) == [1]

    def test_sessions_beyond_many_of_other_conditions(self, history: History) -> None:
        """A baseline has as many sessions as it may, however far back they are."""
        numbers = range(1, 5 * MOST_SESSIONS)
        for number in numbers:
            scenario = "Offline()" if number % 4 else "now"
            history.add(_entry(make_run(number), scenario=scenario))
        history.add(_entry(make_run(900), scenario="now"))
        wanted = [number for number in numbers if number % 4 == 0]
        yardsticks = self._yardsticks(history, Selection("main"))
        assert yardsticks == [*wanted, 900][-MOST_SESSIONS:]

    def test_the_nearest_commit_is_the_newest(self, history: History) -> None:
        """Sessions are in the order of commits, and those of one commit in that of time."""
        for number, commit in enumerate(["near", "far", "farther", "near", "other", "near+"], 1):
            history.add(_entry(make_run(number, commit)))
        ancestors = ("none", "near", "far", *map(str, range(100)), "farther")
        assert self._yardsticks(history, Selection(None, ancestors)) == [3, 2, 1, 4]
        assert self._yardsticks(history, Selection(None)) == []

    def test_each_name_has_its_sessions(self, history: History) -> None:
        """Even if it was last measured long ago."""
        history.add(_entry(make_run(1), name="old"))
        for number in range(2, 2 * MOST_SESSIONS + 1):
            history.add(_entry(make_run(number)))
        assert self._yardsticks(history, Selection("main"), "old") == [1]
        assert len(self._yardsticks(history, Selection("main"))) == MOST_SESSIONS

    def test_saving(self, history: History) -> None:
        """An entry is of the run's code, NEW, and renews the baseline unless it continues one."""
        run = make_run(1, "c+")
        store = HistoryBaselines(history, run, Selection("main"))
        first = make_accepted(yardstick=1.0)
        store.save(TEST, "", first)
        store.save(TEST, "next", continued(first.sessions, first))
        entries = history.entries(Query())
        assert [(entry.name, entry.renews) for entry in entries] == [("next", False), ("", True)]
        assert {entry.verdict for entry in entries} == {Verdict.NEW}
        assert {entry.result.revision for entry in entries} == {run.revision}
        assert {len(entry.result.sessions) for entry in entries} == {1}
        # The code has changes, so only what was accepted as a change is a baseline.
        assert self._yardsticks(history, Selection("main")) == [1]
        assert self._yardsticks(history, Selection("main"), "next") == []


DAMAGES = {
    "verdict": "UPDATE dlperf_measurements SET verdict = 'MAYBE'",
    "slo": "UPDATE dlperf_measurements SET slo = 'x'",
    "yardstick": "UPDATE dlperf_measurements SET memory = -1",
    "half a yardstick": "UPDATE dlperf_measurements SET memory = NULL",
    "environment": "UPDATE dlperf_measurements SET environment = '{'",
    "environment field": "UPDATE dlperf_measurements SET environment = '{}'",
    "blocks": "UPDATE dlperf_measurements SET blocks = '[]'",
    "key": "UPDATE dlperf_runs SET key = 'x'",
    "began": "UPDATE dlperf_runs SET began = 'x'",
    "machine": "UPDATE dlperf_runs SET machine = 'null'",
    "metric": "UPDATE dlperf_metrics SET metric = 'joules' WHERE metric = 'errors'",
    "low above value": "UPDATE dlperf_metrics SET low = 5000 WHERE metric = 'throughput'",
    "value text": "UPDATE dlperf_metrics SET value = 'x'",
    "bits": "UPDATE dlperf_rows SET rows = 900",
    "bits text": "UPDATE dlperf_rows SET \"right\" = 'x'",
    "seeds": "UPDATE dlperf_measurements SET seeds = '{}x'",
    "unit": "UPDATE dlperf_users_metrics SET unit = 'ms'",
    "name": "UPDATE dlperf_users_metrics SET metric = 'p99'",
    "scores": "UPDATE dlperf_users_metrics SET rows = 900",
    "scores text": "UPDATE dlperf_users_metrics SET scores = 'x'",
    "kind": "UPDATE dlperf_users_metrics SET kind = 'f8'",
}


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_rows(history: History, path: Path, statement: str) -> None:
    """The error names the measurement, its test and the database."""
    result = with_ndcg([0.5, 0.25], rows=make_rows([1, 0]), slo=0.5, seeds=(0.5,), yardstick=1.0)
    history.add(dataclasses.replace(_entry(make_run(1)), result=result))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    with pytest.raises(HistoryError, match="it is damaged: measurement 1 ") as caught:
        history.entries(Query())
    assert TEST in caught.value.problem
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["x'ff'", "CAST(x'ff' AS TEXT)"])
def test_damaged_texts(history: History, path: Path, text: str) -> None:
    """Values that are not text, or cannot be decoded, are refused."""
    history.add(_entry(make_run(1)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE dlperf_tests SET test = {text}")  # noqa: S608 - fixed
    for read in (history.entries, history.measurements):
        with pytest.raises(HistoryError, match=r"is not text|decode"):
            read(Query())


def test_damaged_runs(history: History, path: Path) -> None:
    """The error names the run."""
    run = make_run(1)
    history.add(_entry(run))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE dlperf_runs SET machine = '{}'")
    with pytest.raises(HistoryError, match=f"damaged: run 1 .{run.key}.: 'cpu'"):
        history.runs(Query())
    with pytest.raises(HistoryError, match="damaged: the machine of tests/"):
        history.measurements(Query())


def test_machine_is_stored_by_field(history: History, path: Path) -> None:
    """In the database the machine's fields have their names."""
    history.add(_entry(make_run(1)))
    with closing(sqlite3.connect(path)) as connection:
        (text,) = connection.execute("SELECT machine FROM dlperf_runs").fetchone()
    assert json.loads(text) == dataclasses.asdict(MACHINE)


def test_the_past_of_a_machine(history: History) -> None:
    """Speeds of sound sessions, oldest first, the suspected too; a level ends at a change."""
    values = [1000.0, 990.0, 400.0, 980.0, 500.0, 510.0, 700.0]
    runs = [make_run(day, machine=OTHER if day == 6 else MACHINE) for day in range(7)]
    for day, (run, value) in enumerate(zip(runs, values, strict=True)):
        metrics = {"throughput": estimate(value), "peak_memory": estimate(1e9)}
        verdict = Verdict.FAIL if day == 2 else Verdict.INCONCLUSIVE
        serving = "Serving(replicas=2)" if day == 5 else "Serving()"
        entry = make_entry(metrics, run=run, verdict=verdict, renews=day == 4, serving=serving)
        history.add(dataclasses.replace(entry, suspected=day == 1))
    history.add(
        make_entry({"throughput": estimate(1.0)}, run=make_run(8), noise="others took 40 %")
    )
    history.add(make_entry({"throughput": estimate(1.0)}, run=make_run(9, "a+")))

    (past,) = history.past(MACHINE.slug)

    assert (past.test, past.name, past.scenario) == (TEST, "", "ClosedLoop(clients=64)")
    assert [session.metrics["throughput"].value for session in past.sessions] == [
        *(1000.0, 990.0, 980.0, 500.0, 510.0)
    ]
    assert [session.starts for session in past.sessions] == [False, False, False, True, True]
    assert [session.day for session in past.sessions] == [
        runs[day].revision.date for day in (0, 1, 3, 4, 5)
    ]
    assert all(set(session.metrics) == {"throughput"} for session in past.sessions)
    assert history.past("another") == ()


def test_a_suspected_session_is_no_baseline(history: History) -> None:
    """One session that seems to have lost must not move what later ones are compared with."""
    for day, suspected in enumerate((False, True)):
        entry = make_entry(run=make_run(day), verdict=Verdict.INCONCLUSIVE)
        history.add(dataclasses.replace(entry, suspected=suspected))
    newest, oldest = history.entries(Query())
    assert (newest.suspected, newest.noise, newest.acceptable) == (True, "", False)
    assert (oldest.suspected, oldest.acceptable) == (False, True)
    assert history.entries(Query(acceptable=True)) == (oldest,)
