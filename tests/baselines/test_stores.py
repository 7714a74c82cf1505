"""What every store of baselines promises: files, SQLite and PostgreSQL alike."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from builders import (
    ENVIRONMENT,
    MACHINE,
    continued,
    make_accepted,
    make_rows,
    numbered,
    with_session,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from store_contract import REVISION, TEST, append, numbers, of_name, open_shelf

from pytest_dlperf.baselines.files import all_files
from pytest_dlperf.errors import BaselineError, HistoryError
from pytest_dlperf.history.entries import Query
from pytest_dlperf.history.store import open_history
from pytest_dlperf.history.url import parse_url
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.baseline import MOST_SESSIONS
from pytest_dlperf.results.baseline_session import BaselineSession, Revision
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from postgres_server import PostgresServer
    from store_contract import Shelf

    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.environment import MachineClass

WRITER: Final = Path(__file__).parents[1] / "store_writer.py"
KINDS: Final = ("files", "sqlite", "postgres")
ON_DISK: Final = ("files", "sqlite")
REFUSED: Final = (BaselineError, HistoryError)
KILLS: Final = int(os.environ.get("STORE_KILLS", "24"))
"""Writers that are killed in each store; `make kills` kills 200, which takes a minute."""


def _where(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """A new, empty place of a kind."""
    if kind == "files":
        return f"files:{folder / 'baselines'}"
    if kind == "sqlite":
        return f"sqlite:///{folder / 'history.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of each kind."""
    return _where(request.param, tmp_path, request)


@pytest.fixture
def shelf(where: str) -> Iterator[Shelf]:
    """The same, open."""
    with closing(open_shelf(where)) as opened:
        yield opened


def the_file(where: str) -> Path:
    """The file that `append` writes to."""
    kind, _, rest = where.partition(":")
    if kind == "files":
        (path,) = all_files(Path(rest))
        return path
    path = parse_url(where)
    assert isinstance(path, Path)
    return path


# Of what is stored, one part: figures of every size, texts of every kind.
_ENDS = st.tuples(*[st.floats(1e-300, 1e12)] * 3).map(sorted)
_METRICS = st.dictionaries(
    st.sampled_from(list(METRICS)), _ENDS.map(lambda ends: Estimate(ends[1], ends[0], ends[2]))
)
_ROWS = st.none() | st.lists(st.booleans(), max_size=20).map(make_rows)
_WORDS = st.text(max_size=8)
_ENVIRONMENTS = st.builds(
    lambda words: dataclasses.replace(ENVIRONMENT, threads=words, tensorflow=words), _WORDS
)
_SESSIONS = st.builds(
    make_accepted,
    _METRICS,
    scenario=_WORDS,
    serving=_WORDS,
    slo=st.none() | st.floats(0.001, 1.0),
    rows=_ROWS,
    environment=_ENVIRONMENTS,
    yardstick=st.none() | st.builds(Pace, *[st.floats(1e-9, 1.0)] * 2),
    # Uncommitted code is stored, but a history does not compare with it.
    revision=st.builds(Revision, _WORDS.map(lambda t: t.rstrip("+")), _WORDS, st.dates().map(str)),
)
_SAVES = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),  # which machine
        st.sampled_from([TEST, "ü::ü", "", "\0"]),
        st.sampled_from(["", "big", "\0"]),
        _SESSIONS,
        st.booleans(),  # whether it renews
    ),
    max_size=8,
)


def _assert_alike(read: BaselineSession, written: BaselineSession) -> None:
    """Equal, figures to six significant digits."""
    assert (read.environment, read.revision) == (written.environment, written.revision)
    assert (read.yardstick is None) is (written.yardstick is None)
    if read.yardstick is not None and written.yardstick is not None:
        assert dataclasses.astuple(read.yardstick) == pytest.approx(
            dataclasses.astuple(written.yardstick), rel=5.1e-6
        )
    assert read.metrics.keys() == written.metrics.keys()
    for name, estimate in written.metrics.items():
        got = dataclasses.astuple(read.metrics[name])
        assert got == pytest.approx(dataclasses.astuple(estimate), rel=5.1e-6, abs=0)


def _assert_stored(read: BaselineEntry, written: list[BaselineEntry]) -> None:
    """The sessions that were stored since the last change, and the newest one's bits."""
    newest = written[-1]
    assert (read.scenario, read.serving) == (newest.scenario, newest.serving)
    assert (read.slo or 0.0) == pytest.approx(newest.slo or 0.0)
    assert len(read.sessions) == len(written)
    for session, was in zip(read.sessions, written, strict=True):
        _assert_alike(session, was.newest)
    assert (read.rows is None) is (newest.rows is None)
    if read.rows is not None and newest.rows is not None:
        assert read.rows.data == newest.rows.data
        assert np.array_equal(read.rows.right, newest.rows.right)
        assert np.array_equal(read.rows.answered, newest.rows.answered)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_is_loaded(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Sessions follow one another, a change begins anew, and nothing else is touched.

    Nothing else: other tests, other measurements of the test, other machine classes.
    """
    where = _where(kind, tmp_path_factory.mktemp(kind), request)
    unused = itertools.count()

    with closing(open_shelf(where)) as shelf:

        @settings(max_examples=25)
        @given(_SAVES)
        def check(saves: list[tuple[int, str, str, BaselineEntry, bool]]) -> None:
            machines = [
                dataclasses.replace(MACHINE, cpu=f"{next(unused)} {which}") for which in (0, 1)
            ]
            _check(shelf, machines, saves)

        check()


def _check(
    shelf: Shelf,
    machines: list[MachineClass],
    saves: list[tuple[int, str, str, BaselineEntry, bool]],
) -> None:
    wanted: dict[tuple[int, str], dict[str, list[BaselineEntry]]] = {}
    for which, test, name, drawn, renews in saves:
        sessions = wanted.setdefault((which, test), {}).setdefault(name, [])
        accepted = drawn
        if renews:
            sessions.clear()
        elif sessions:
            before = sessions[-1]
            branch = before.revision.branch
            accepted = dataclasses.replace(
                with_session(drawn, revision=dataclasses.replace(drawn.revision, branch=branch)),
                scenario=before.scenario,
                serving=before.serving,
                slo=before.slo,
            )
        store = shelf.store(machines[which], accepted.revision)
        stored = of_name(store.load(test), name) if sessions else None
        earlier = stored.sessions if stored else ()
        store.save(test, name, continued(earlier, accepted))
        sessions.append(accepted)
    for (which, test), by_name in wanted.items():
        for name, sessions in by_name.items():
            store = shelf.store(machines[which], sessions[-1].revision)
            stored = of_name(store.load(test), name)
            assert stored is not None
            _assert_stored(stored, sessions)
    store = shelf.store(machines[0], REVISION)
    assert store.load("a test that was never saved") is None


def test_no_more_sessions_than_are_of_use(shelf: Shelf) -> None:
    """The newest thirty are loaded, the oldest first."""
    for number in range(1, MOST_SESSIONS + 6):
        append(shelf, number)
    assert numbers(shelf) == list(range(6, MOST_SESSIONS + 6))


def test_what_is_stored_outlives_who_stored_it(where: str) -> None:
    """It is there when the place is opened again."""
    for number in (1, 2):
        with closing(open_shelf(where)) as shelf:
            append(shelf, number)
    with closing(open_shelf(where)) as shelf:
        assert numbers(shelf) == [1, 2]


def _writer(*arguments: object) -> subprocess.Popen[str]:
    """A process that writes; it starts fast, with one thread."""
    paths = os.pathsep.join([str(WRITER.parent), *sys.path])
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, str(WRITER), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _killed(rounds: int, early: float, *places: str) -> dict[str, list[int]]:
    """What writers reported that were killed, and what of it is missing."""
    answer, _ = _writer("kill", rounds, early, *places).communicate()
    report: dict[str, list[int]] = json.loads(answer)
    return report


def test_killed_writers_lose_nothing(where: str) -> None:
    """A writer is killed again and again, at any moment: what it had stored is there."""
    report = _killed(KILLS, 0.1, where)

    assert report["missing"] == []
    # Nine of ten were killed after their first session at the earliest.
    assert len(report["reported"]) > KILLS / 2
    with closing(open_shelf(where)) as shelf:
        assert max(numbers(shelf)) >= max(report["reported"])
    if not where.startswith("files:"):
        with closing(open_history(where)) as history:
            entries = history.entries(Query(test=TEST))
        # Older ones than a baseline has are kept as well.
        assert {numbered(entry.result.sessions)[0] for entry in entries} >= set(report["reported"])


@pytest.mark.parametrize("kind", KINDS)
def test_killed_while_the_place_is_made(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A place whose first writer was killed on the way is opened by the next one."""
    count = max(4, KILLS // 10)
    places = [_where(kind, tmp_path_factory.mktemp(kind), request) for _ in range(count)]
    assert _killed(len(places), 1.0, *places)["missing"] == []


def _write_at_once(where: str, each: int) -> None:
    """Two processes append `each` sessions, of commits `a` and `b`."""
    writers = [_writer("append", where, commit, each) for commit in ("a", "b")]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0


def test_two_writers_lose_nothing(where: str) -> None:
    """Two runs that store at the same time both have all their sessions stored."""
    each = 10
    with closing(open_shelf(where)) as shelf:
        append(shelf, 1)  # what both follow
    _write_at_once(where, each)
    with closing(open_shelf(where)) as shelf:
        stored = of_name(shelf.store(MACHINE, REVISION).load(TEST), "")
    assert stored is not None
    for commit in ("a", "b"):
        mine = numbered(s for s in stored.sessions if s.revision.commit == commit)
        assert mine == list(range(1, each + 1))


def test_two_writers_make_the_place(where: str) -> None:
    """Two runs that are the first may open the same new place at once."""
    _write_at_once(where, 1)
    with closing(open_shelf(where)) as shelf:
        assert numbers(shelf)[-1] == 1


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)  # noqa: S603 - fixed
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip() or done.returncode}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S603, S607 - fixed


def _fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("kind", ON_DISK)
def test_full_disk(kind: str, mounted: Path, request: pytest.FixtureRequest) -> None:
    """On a full disk storing is refused, what was stored is there, and it goes on with space."""
    where, ballast = _where(kind, mounted, request), mounted / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    with closing(open_shelf(where)) as shelf:
        append(shelf, 1)
        _fill(mounted / "rest")
        stored = 1
        with pytest.raises(REFUSED) as caught:  # noqa: PT012 - some may still fit
            while stored < 1000:
                append(shelf, stored + 1)
                stored += 1
        assert "disk" in str(caught.value) or "space" in str(caught.value)
        assert "kept" in str(caught.value) or "nothing was changed" in str(caught.value)
        assert numbers(shelf)[-1] == stored
    ballast.unlink()
    with closing(open_shelf(where)) as shelf:
        assert numbers(shelf)[-1] == stored
        append(shelf, stored + 1)
        assert numbers(shelf)[-1] == stored + 1


@pytest.mark.parametrize("kind", ON_DISK)
def test_read_only_disk(kind: str, mounted: Path, request: pytest.FixtureRequest) -> None:
    """On a disk that cannot be written to nothing is stored, it is said so, and nothing lost."""
    where = _where(kind, mounted, request)
    with closing(open_shelf(where)) as shelf:
        append(shelf, 1)
    remount = ("mount", "-o")
    subprocess.run([*remount, "remount,ro", str(mounted)], check=True)  # noqa: S603 - fixed
    with (
        pytest.raises(REFUSED, match=r"(?i)read-?only|cannot be written|unable to open") as caught,
        closing(open_shelf(where)) as shelf,
    ):
        append(shelf, 2)
    assert str(mounted) in str(caught.value)
    subprocess.run([*remount, "remount,rw", str(mounted)], check=True)  # noqa: S603 - fixed
    with closing(open_shelf(where)) as shelf:
        assert numbers(shelf) == [1]


def _bytes_read() -> int:
    """How much this process has read so far."""
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


@pytest.mark.parametrize("kind", ON_DISK)
def test_a_gigabyte_of_junk(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A file that is far too large, and none of ours, is refused without being read."""
    where = _where(kind, tmp_path, request)
    with closing(open_shelf(where)) as shelf:
        append(shelf, 1)
    path = the_file(where)
    path.write_bytes(b"junk")
    os.truncate(path, 1 << 30)
    before = _bytes_read()
    with pytest.raises(REFUSED) as caught, closing(open_shelf(where)) as shelf:
        numbers(shelf)
    assert _bytes_read() - before < 16 << 20
    assert str(path) in str(caught.value)
    assert path.stat().st_size == 1 << 30


@pytest.mark.parametrize("kind", ON_DISK)
def test_cut_off(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A file that was cut off is refused, at whatever length, and left as it is."""
    where = _where(kind, tmp_path, request)
    with closing(open_shelf(where)) as shelf:
        for number in range(1, 6):
            append(shelf, number)
    path = the_file(where)
    whole = path.read_bytes().rstrip()
    for length in [2, *np.linspace(16, len(whole) - 1, 40).astype(int).tolist()]:
        path.write_bytes(whole[:length])
        with pytest.raises(REFUSED) as caught, closing(open_shelf(where)) as shelf:
            numbers(shelf)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == whole[:length]


def _make_newer(where: str, request: pytest.FixtureRequest) -> None:
    """Change the stored version to that of a later schema."""
    if where.startswith("files:"):
        path = the_file(where)
        value: dict[str, Any] = json.loads(path.read_bytes())
        path.write_text(json.dumps({**value, "schema": 1000}))
        return
    change = "UPDATE dlperf_version SET version = 1000"
    if where.startswith("sqlite:"):
        import sqlite3

        with closing(sqlite3.connect(the_file(where))) as connection, connection:
            connection.execute(change)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.execute(where.partition("@/")[2].partition("?")[0], change)


def test_newer_schema(where: str, request: pytest.FixtureRequest) -> None:
    """What a newer version wrote is refused, with the advice to upgrade."""
    with closing(open_shelf(where)) as shelf:
        append(shelf, 1)
    _make_newer(where, request)
    for _ in range(2):
        with pytest.raises(REFUSED) as caught, closing(open_shelf(where)) as shelf:
            append(shelf, 2)
        assert "newer pytest-dlperf" in str(caught.value)
        assert "1000" in str(caught.value)
        assert "upgrade pytest-dlperf" in str(caught.value)
