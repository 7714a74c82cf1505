"""The history: what every run measured is found again, whatever is asked, and errors say what."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import stat
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, MACHINE, continued, estimate, make_accepted, make_rows
from history_entries import OTHER, TEST, make_entry, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dlperf.errors import HistoryError, UsageError
from pytest_dlperf.history import database as history_database
from pytest_dlperf.history.entries import Entry, MeasurementId, Query, Run, Selection
from pytest_dlperf.history.store import HistoryBaselines, default_url, open_history
from pytest_dlperf.metrics import METRICS, define, metric_named, users_metric
from pytest_dlperf.results.baseline import MOST_SESSIONS, BaselineEntry
from pytest_dlperf.results.row_evidence import RowScores
from pytest_dlperf.results.series import BlockSummary
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres_server import PostgresServer

    from pytest_dlperf.history.store import SqlHistory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a SQLite file is to be."""
    return tmp_path / "history.sqlite"


@pytest.fixture
def history(path: Path) -> Iterator[SqlHistory]:
    """A new history in it."""
    with closing(open_history(f"sqlite:///{path}")) as opened:
        yield opened


RUNS = [
    make_run(1, "a"),
    make_run(2, "a+"),
    make_run(3, "b", "work"),
    make_run(4, "a", machine=OTHER),
    make_run(5, "", "", began=3.0),
    make_run(6, "b", began=1.0),
]
_ENTRIES = st.lists(
    st.builds(
        make_entry,
        st.sampled_from(RUNS),
        st.sampled_from([TEST, "u"]),
        st.sampled_from(["", "big"]),
        verdict=st.sampled_from(Verdict),
        renews=st.booleans(),
        unquiet=st.sampled_from(["", "the machine was not quiet"]),
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


def _asked_for(entry: Entry, query: Query) -> bool:
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
    """What a query finds, by its definition."""
    kept: dict[tuple[str, str, str], Entry] = {}
    for entry in added:
        key = entry.run.key, entry.test, entry.name
        kept.pop(key, None)
        kept[key] = entry
    found = [entry for entry in reversed(kept.values()) if _asked_for(entry, query)]
    return tuple(sorted(found, key=lambda entry: -entry.run.began)[: query.limit])


def _check_queries(history: SqlHistory, added: list[Entry], queries: list[Query]) -> None:
    for entry in added:
        history.add(entry)
    for query in queries:
        assert history.entries(query) == _expected(added, query)
        everything = _expected(added, dataclasses.replace(query, limit=None))
        runs = dict.fromkeys(entry.run for entry in everything)
        assert {run.key for run in history.runs(dataclasses.replace(query, limit=None))} == {
            run.key for run in runs
        }
        newest = [run.began for run in history.runs(query)]
        assert newest == sorted((run.began for run in runs), reverse=True)[: query.limit]
        places = {MeasurementId(one.test, one.name, one.run.machine) for one in everything}
        found = history.places(query)
        assert len(found) == len(set(found))
        assert set(found) == places
    for test in (TEST, "u", "v"):
        names = {entry.name for entry in added if entry.test == test}
        assert history.names(test) == tuple(sorted(names))


@settings(max_examples=60)
@given(_ENTRIES, st.lists(_QUERIES, min_size=1, max_size=4))
def test_what_is_asked_for_in_sqlite(
    tmp_path_factory: pytest.TempPathFactory, added: list[Entry], queries: list[Query]
) -> None:
    """A query finds the entries that it describes, the newest first, replaced ones not."""
    path = tmp_path_factory.mktemp("history") / "h.sqlite"
    with closing(open_history(f"sqlite:///{path}")) as history:
        _check_queries(history, added, queries)


def test_what_is_asked_for_in_postgres(postgres_server: PostgresServer) -> None:
    """The same there."""
    url = postgres_server.new_database()
    database = url.partition("@/")[2].partition("?")[0]
    with closing(open_history(url)) as history:

        @settings(max_examples=30)
        @given(_ENTRIES, st.lists(_QUERIES, min_size=1, max_size=4))
        def check(added: list[Entry], queries: list[Query]) -> None:
            postgres_server.execute(database, "TRUNCATE dlperf_runs, dlperf_tests CASCADE")
            _check_queries(history, added, queries)

        check()


def test_an_entry_is_kept_whole(history: SqlHistory) -> None:
    """Every field of an entry comes back, figures to the last bit."""
    run = make_run(1, "0123+", "feature/ü")
    rows = make_rows([1, 0, 1, 1, 0, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1, 0, 0], data="abc")
    found = make_accepted(
        {name: estimate(1 / 3, 1 / 7) for name in METRICS},
        scenario="Server(1000.0)",
        serving="Serving(replicas=2)",
        rows=rows,
        environment=dataclasses.replace(ENVIRONMENT, threads="OMP_NUM_THREADS=1"),
        revision=run.revision,
        slo=1 / 3,
        yardstick=1 / 7,
        blocks=BlockSummary(50, 0.02),
    )
    entry = Entry(run, "t\ud800\0\x1b[x]\n", "ü\x1b", Verdict.INCONCLUSIVE, found, renews=True)
    history.add(entry)
    (read,) = history.entries(Query())
    assert list(read.found.metrics) == list(METRICS)
    assert read.found.rows is not None
    assert read.found.rows.data == "abc"
    assert read.found.rows.answered.tolist() == rows.answered.tolist()
    assert read.found.rows.right.tolist() == rows.right.tolist()
    without = dataclasses.replace(found, rows=None)
    assert dataclasses.replace(read, found=dataclasses.replace(read.found, rows=None)) == (
        dataclasses.replace(entry, found=without)
    )


def with_ndcg(scores: list[float], **fields: Any) -> BaselineEntry:  # noqa: ANN401 - any field
    """An accepted measurement with a users' metric."""
    define(users_metric("ndcg", "share", "higher", 0.02))
    kept = RowScores("d", {"ndcg": np.array(scores)})
    metrics = {"throughput": estimate(1000.0), "ndcg": estimate(0.375), "errors": estimate(0.0)}
    return make_accepted(metrics, scores=kept, **fields)


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics_are_kept(history: SqlHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what they mean, for processes that do not define them, and their rows' scores."""
    history.add(make_entry(make_run(1), found=with_ndcg([0.5, 0.25, 1.0])))
    history.add(make_entry(make_run(2), found=with_ndcg([1.0, 0.0])))
    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})

    read = [entry.found for entry in history.entries(Query())]

    assert metric_named("ndcg").detect == 0.02
    assert [list(one.metrics) for one in read] == [["throughput", "errors", "ndcg"]] * 2
    kept = [one.scores.scores["ndcg"].tolist() for one in read if one.scores is not None]
    assert kept == [[1.0, 0.0], [0.5, 0.25, 1.0]]
    monkeypatch.setattr("pytest_dlperf.metrics._read", {})
    define(users_metric("ndcg", "1", "higher", 0.02))
    read = [entry.found for entry in history.entries(Query())]
    assert [(list(one.metrics), one.scores) for one in read] == [
        (["throughput", "errors"], None)
    ] * 2


@pytest.mark.usefixtures("own_metrics")
def test_a_replaced_entry_leaves_nothing(history: SqlHistory, path: Path) -> None:
    """Neither metrics nor bits nor scores of what was replaced stay."""
    found = with_ndcg([0.5], rows=make_rows([1]), yardstick=1.0)
    for _ in range(3):
        history.add(make_entry(make_run(1), found=found))
    history.add(make_entry(make_run(1), found=make_accepted({})))
    with closing(sqlite3.connect(path)) as connection:
        for table in ("metrics", "rows", "users_metrics"):
            count = connection.execute(f"SELECT count(*) FROM dlperf_{table}")  # noqa: S608 - fixed
            assert count.fetchone() == (0,)


def test_node_ids_of_any_length(history: SqlHistory) -> None:
    """A node id that is longer than a key of an index may be is found all the same."""
    test = f"t[{'x' * 100_000}]"
    history.add(make_entry(make_run(1), test))
    assert [entry.test for entry in history.entries(Query(test=test))] == [test]


class TestBaselines:
    """The history's sessions as baselines."""

    @staticmethod
    def _yardsticks(
        history: SqlHistory, selection: Selection, name: str = "", run: Run | None = None
    ) -> list[float | None]:
        store = HistoryBaselines(history, run or make_run(999), selection)
        found = store.load(TEST)
        accepted = found.accepted.get(name) if found else None
        return [session.yardstick for session in accepted.sessions] if accepted else []

    def test_a_branch_is_compared_with_its_own(self, history: SqlHistory) -> None:
        """Other branches and other machine classes are none of its baseline."""
        history.add(make_entry(make_run(1)))
        history.add(make_entry(make_run(2, branch="work")))
        history.add(make_entry(make_run(3, machine=OTHER)))
        history.add(make_entry(make_run(4)))
        assert self._yardsticks(history, Selection("main")) == [2, 5]
        assert self._yardsticks(history, Selection("work")) == [3]
        assert self._yardsticks(history, Selection("other")) == []

    def test_a_run_is_not_compared_with_itself(self, history: SqlHistory) -> None:
        """What the run itself has measured already is no baseline of it."""
        run = make_run(2)
        history.add(make_entry(make_run(1)))
        history.add(make_entry(run))
        assert self._yardsticks(history, Selection("main"), run=run) == [2]

    def test_what_is_no_measure_is_left_out(self, history: SqlHistory) -> None:
        """Runs that failed, or of code with changes, however many there are."""
        history.add(make_entry(make_run(1)))
        for number in range(2, 3 * MOST_SESSIONS):
            history.add(make_entry(make_run(number), verdict=Verdict.FAIL))
            history.add(make_entry(make_run(1000 + number, "c+")))
        assert self._yardsticks(history, Selection("main")) == [2]

    def test_sessions_beyond_many_of_other_conditions(self, history: SqlHistory) -> None:
        """As many as a baseline has are looked for, however far back."""
        for number in range(5 * MOST_SESSIONS):
            run = make_run(number)
            found = make_accepted(
                scenario="Offline()" if number % 4 else "now", yardstick=number + 1.0
            )
            history.add(make_entry(run, found=found))
        newest = make_accepted(scenario="now", yardstick=1000.0)
        history.add(make_entry(make_run(900), found=newest))
        wanted = [number + 1.0 for number in range(5 * MOST_SESSIONS) if number % 4 == 0]
        found = self._yardsticks(history, Selection("main"))
        assert found == [*wanted, 1000.0][-MOST_SESSIONS:]

    def test_the_nearest_commit_is_the_newest(self, history: SqlHistory) -> None:
        """Of commits, the order is theirs, and only among runs of one commit that of time."""
        for number, commit in enumerate(["near", "far", "farther", "near", "other", "near+"]):
            history.add(make_entry(make_run(number, commit)))
        ancestors = ("none", "near", "far", *map(str, range(100)), "farther")
        assert self._yardsticks(history, Selection(None, ancestors)) == [3, 2, 1, 4]
        assert self._yardsticks(history, Selection(None)) == []

    def test_each_name_has_its_sessions(self, history: SqlHistory) -> None:
        """One that was measured long ago has them too."""
        history.add(make_entry(make_run(0), name="old"))
        for number in range(1, 2 * MOST_SESSIONS):
            history.add(make_entry(make_run(number)))
        assert self._yardsticks(history, Selection("main"), "old") == [1]
        assert len(self._yardsticks(history, Selection("main"))) == MOST_SESSIONS

    def test_what_is_saved_is_of_the_run(self, history: SqlHistory) -> None:
        """The entry is of the run's code, NEW, and a new beginning if nothing went before."""
        run = make_run(1, "c+")
        store = HistoryBaselines(history, run, Selection("main"))
        first = make_accepted(yardstick=1.0)
        store.save(TEST, "", first)
        store.save(TEST, "next", continued(first.sessions, first))
        entries = history.entries(Query())
        assert [(entry.name, entry.renews) for entry in entries] == [("next", False), ("", True)]
        assert {entry.verdict for entry in entries} == {Verdict.NEW}
        assert {entry.found.revision for entry in entries} == {run.revision}
        assert {len(entry.found.sessions) for entry in entries} == {1}
        # Accepted on purpose, though the code had changes; the other was not.
        assert self._yardsticks(history, Selection("main")) == [1]
        assert self._yardsticks(history, Selection("main"), "next") == []


def _refused(url: str) -> HistoryError:
    with pytest.raises(HistoryError) as caught:
        open_history(url).close()
    assert caught.value.hint
    return caught.value


class TestSqliteFile:
    """A SQLite file and its folder, such as they may be."""

    def test_the_folder_is_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Relative to the working directory at the time of opening."""
        monkeypatch.chdir(tmp_path)
        with closing(open_history("sqlite:///new/newer/h.sqlite")) as history:
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")
            history.add(make_entry(make_run(1)))
            assert history.place == str(tmp_path / "new/newer/h.sqlite")
        assert (tmp_path / "new/newer/h.sqlite").is_file()

    @pytest.mark.parametrize("name", ["a b", "a?b#c", "50%25", "ü:@", "\udcff"])
    def test_the_default_place(self, tmp_path: Path, name: str) -> None:
        """It is below the root directory, whatever that is called."""
        root = tmp_path / name
        with closing(open_history(default_url(root))) as history:
            history.add(make_entry(make_run(1)))
        assert (root / ".dlperf" / "history.sqlite").is_file()

    def test_nothing_is_lost_when_the_machine_fails(self, history: SqlHistory) -> None:
        """Every entry is on the disk when it is said to be kept, and readers do not wait."""
        with history._database.reading() as connection:  # noqa: SLF001 - what it is set to
            modes = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("synchronous", "journal_mode", "foreign_keys", "busy_timeout")
            ]
        assert modes == [2, "wal", 1, 30_000]

    @pytest.mark.parametrize(
        "content",
        [b"{}", b"not a database\n" * 100, bytes(5000), b"SQLite format 3\0" + b"x" * 100],
    )
    def test_no_database(self, path: Path, content: bytes) -> None:
        """Another file in its place is refused and left as it is."""
        path.write_bytes(content)
        error = _refused(f"sqlite:///{path}")
        assert error.place == str(path)
        assert "file is not a database" in error.problem or "damaged" in error.problem
        assert path.read_bytes() == content

    def test_a_folder_in_its_place(self, path: Path) -> None:
        """That is said, and the folder stays."""
        path.mkdir()
        assert "unable to open database file" in _refused(f"sqlite:///{path}").problem
        assert list(path.iterdir()) == []

    def test_a_file_in_the_place_of_the_folder(self, path: Path) -> None:
        """That is said, and the file stays."""
        path.write_text("mine")
        assert "File exists" in _refused(f"sqlite:///{path}/h.sqlite").problem
        assert path.read_text() == "mine"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write to everything")
    def test_a_folder_that_cannot_be_written_to(self, path: Path) -> None:
        """That is said."""
        path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
        try:
            assert "cannot be" in _refused(f"sqlite:///{path}").problem
        finally:
            path.parent.chmod(stat.S_IRWXU)

    def test_an_empty_file_is_a_new_history(self, path: Path) -> None:
        """A name that was reserved, as by mktemp, may be used."""
        path.touch()
        with closing(open_history(f"sqlite:///{path}")) as history:
            history.add(make_entry(make_run(1)))
            assert len(history.entries(Query())) == 1

    def test_anothers_tables_are_left_alone(self, path: Path) -> None:
        """A database may hold other things; they stay."""
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE runs (mine)")
            connection.execute("INSERT INTO runs VALUES (7)")
        with closing(open_history(f"sqlite:///{path}")) as history:
            history.add(make_entry(make_run(1)))
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT mine FROM runs").fetchall() == [(7,)]

    def test_a_lock_that_does_not_end(
        self, history: SqlHistory, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After the time that is waited, it is said that another process has it locked."""
        del history  # it is there
        monkeypatch.setattr(history_database, "LOCK_SECONDS", 0.05)
        with closing(open_history(f"sqlite:///{path}")) as waiting, self._locked(path):
            with pytest.raises(HistoryError, match="database is locked"):
                waiting.add(make_entry(make_run(1)))
            assert waiting.entries(Query()) == ()  # who reads does not wait

    def test_a_lock_while_it_is_made(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same of a place that has no tables yet."""
        monkeypatch.setattr(history_database, "LOCK_SECONDS", 0.05)
        with self._locked(path):
            assert "database is locked" in _refused(f"sqlite:///{path}").problem

    @staticmethod
    @contextmanager
    def _locked(path: Path) -> Iterator[None]:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield


DAMAGES = {
    "verdict": "UPDATE dlperf_measurements SET verdict = 'MAYBE'",
    "slo": "UPDATE dlperf_measurements SET slo = 'x'",
    "yardstick": "UPDATE dlperf_measurements SET yardstick = -1",
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
def test_damaged_rows(history: SqlHistory, path: Path, statement: str) -> None:
    """A row that was not written by us is refused, and the error says which it is."""
    found = with_ndcg([0.5, 0.25], rows=make_rows([1, 0]), slo=0.5, seeds=(0.5,))
    history.add(make_entry(make_run(1), found=found))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    with pytest.raises(HistoryError, match="it is damaged: measurement 1 ") as caught:
        history.entries(Query())
    assert TEST in caught.value.problem
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["x'ff'", "CAST(x'ff' AS TEXT)"])
def test_damaged_texts(history: SqlHistory, path: Path, text: str) -> None:
    """What is no text, or none that can be read, is refused as well."""
    history.add(make_entry(make_run(1)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE dlperf_tests SET test = {text}")  # noqa: S608 - fixed
    for ask in (history.entries, history.places):
        with pytest.raises(HistoryError, match=r"is no text|decode"):
            ask(Query())


def test_damaged_runs(history: SqlHistory, path: Path) -> None:
    """A run that cannot be read is named."""
    run = make_run(1)
    history.add(make_entry(run))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE dlperf_runs SET machine = '{}'")
    with pytest.raises(HistoryError, match=f"damaged: run 1 .{run.key}.: 'cpu'"):
        history.runs(Query())
    with pytest.raises(HistoryError, match="damaged: the machine of tests/"):
        history.places(Query())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM dlperf_version",
        "INSERT INTO dlperf_version VALUES (1)",
        "UPDATE dlperf_version SET version = 'x'",
        "UPDATE dlperf_version SET version = 0",
        "DROP TABLE dlperf_version",
    ],
)
def test_damaged_version(path: Path, statement: str) -> None:
    """Tables whose version cannot be told are not touched."""
    with closing(open_history(f"sqlite:///{path}")) as history:
        history.add(make_entry(make_run(1)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    assert _refused(f"sqlite:///{path}").place == str(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM dlperf_metrics").fetchone() == (2,)


def test_a_lost_table(history: SqlHistory, path: Path) -> None:
    """A history without one of its tables is refused whatever is asked."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE dlperf_metrics")
    with pytest.raises(HistoryError, match="no such table"):
        history.add(make_entry(make_run(1)))
    assert history.entries(Query()) == ()  # nothing was added


def test_machine_is_kept_as_it_was(history: SqlHistory, path: Path) -> None:
    """People who look into the database find the machine's fields by name."""
    history.add(make_entry(make_run(1)))
    with closing(sqlite3.connect(path)) as connection:
        (text,) = connection.execute("SELECT machine FROM dlperf_runs").fetchone()
    assert json.loads(text) == dataclasses.asdict(MACHINE)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://x/y"])
def test_no_file(url: str) -> None:
    """A history in memory would end with the run."""
    with pytest.raises(UsageError, match="names no file"):
        open_history(url)
