"""Baseline files: what was accepted is read back, and what is damaged is never touched."""

from __future__ import annotations

import dataclasses
import difflib
import errno
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import MACHINE, REVISION, continued, estimate, make_accepted, make_rows
from git_repositories import git
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.baselines.files import BaselineFiles, all_files, move_anchors, read_baseline
from pytest_dlperf.errors import BaselineError
from pytest_dlperf.metrics import LOAD_METRICS
from pytest_dlperf.results.baseline import MOST_SESSIONS, SCHEMA
from pytest_dlperf.results.baseline_session import Revision
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.results.baseline import BaselineEntry

TEST = "tests/test_model.py::test_fast[a/b]"
OTHER_TEST = "tests/test_model.py::test_slow"
MEASURED = make_accepted(
    {"throughput": estimate(1000.0, 0.01), "accuracy": estimate(0.95, 0.01)},
    rows=make_rows([1, 0, 1]),
)


@pytest.fixture
def store(tmp_path: Path) -> BaselineFiles:
    """A store with a baseline of `TEST`."""
    files = BaselineFiles(tmp_path, MACHINE)
    files.save(TEST, "", MEASURED)
    return files


_NAMES = st.text(max_size=30)


@given(_NAMES | st.text(min_size=200, max_size=400), _NAMES)
def test_each_test_has_a_file_of_its_own(one: str, other: str) -> None:
    """Any node id has a valid file name in its machine's folder, another's id another name."""
    files = BaselineFiles(Path("/root-of-all"), MACHINE)
    path = files.path(one)
    assert path.parent == Path("/root-of-all") / MACHINE.slug
    assert len(path.name.encode()) < 200
    assert path.suffix == ".json"
    assert (path == files.path(other)) is (one == other)


def test_names_that_read_alike(tmp_path: Path) -> None:
    """Node ids that would read alike as file names have different files all the same."""
    ids = ["a/b.py::t", "a.b.py::t", "a/b.py::t ", "A/b.py::t", "a/b.py::t[x y]", "a/b.py::t[x-y]"]
    files = BaselineFiles(tmp_path, MACHINE)
    assert len({files.path(test).name.lower() for test in ids}) == len(ids)


def test_file_name_can_be_read(tmp_path: Path) -> None:
    """The file's name begins with that of the test."""
    path = BaselineFiles(tmp_path, MACHINE).path("tests/test_model.py::test_fast[1]")
    assert path.name.startswith("tests.test_model.py--test_fast[1]-")


def test_other_measurements_stay(store: BaselineFiles) -> None:
    """Saving one measurement of a test leaves its others as they were, to the byte."""
    before = json.loads(store.path(TEST).read_bytes())["measurements"][""]
    store.save(TEST, "big", make_accepted(scenario="Offline()"))
    measurements = json.loads(store.path(TEST).read_bytes())["measurements"]
    assert measurements[""] == before
    assert measurements["big"]["scenario"] == "Offline()"


def test_saving_again_changes_nothing(store: BaselineFiles) -> None:
    """The same measurement makes the same file, so that version control sees no change."""
    path = store.path(TEST)
    before = path.read_bytes()
    loaded = store.load(TEST)
    assert loaded is not None
    store.save(TEST, "", loaded.accepted[""])
    assert path.read_bytes() == before
    assert before.endswith(b"}\n")


def test_no_temporary_file_is_a_baseline(tmp_path: Path, store: BaselineFiles) -> None:
    """What a killed writer leaves behind is not taken for a baseline."""
    path = store.path(TEST)
    (path.parent / f".{path.name}.abc.tmp").write_bytes(b"{")
    assert list(all_files(tmp_path)) == [path]
    assert store.load(TEST) is not None


def _refused(store: BaselineFiles, content: bytes) -> BaselineError:
    """The error of loading a content, which saving raises as well; the content stays."""
    path = store.path(TEST)
    path.write_bytes(content)
    with pytest.raises(BaselineError) as loading:
        store.load(TEST)
    with pytest.raises(BaselineError) as saving:
        store.save(TEST, "", MEASURED)
    with pytest.raises(BaselineError):
        store.save(TEST, "another", MEASURED)
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert loading.value.path == saving.value.path == str(path)
    assert loading.value.hint
    assert str(path) in str(loading.value)
    return loading.value


def test_file_cut_off_anywhere(store: BaselineFiles) -> None:
    """A file that was cut off, at whatever length, is refused and left as it is."""
    whole = store.path(TEST).read_bytes()
    for length in range(len(whole.rstrip())):
        assert "damaged" in _refused(store, whole[:length]).problem


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        b"[]",
        b"{}",
        b"3",
        b'"schema"',
        b"not json",
        b"\x00\x01\x02",
        b"\xff\xfe{\x00",
        b'{"schema": 3}',
        b'{"schema": 3, "test": "t"}',
        b'{"schema": [3], "test": "t", "measurements": {}}',
        b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n",
        pytest.param(b"[" * 100_000, id="nested too deeply"),
        pytest.param(b'{"schema":' + b"9" * 10_000 + b"}", id="a number of 10,000 digits"),
    ],
)
def test_what_is_no_baseline(store: BaselineFiles, content: bytes) -> None:
    """JSON of another shape, conflict markers and no JSON at all are refused as damaged."""
    assert "damaged" in _refused(store, content).problem


def _entry(value: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = value["measurements"][""]
    return entry


def _session(value: dict[str, Any]) -> dict[str, Any]:
    session: dict[str, Any] = _entry(value)["sessions"][0]
    return session


def _throughput(**metric: object) -> Callable[[dict[str, Any]], object]:
    return lambda value: _session(value)["metrics"].update(throughput=metric["is_"])


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "schema 0": lambda v: v.update(schema=0),
    "schema text": lambda v: v.update(schema="1"),
    "schema none": lambda v: v.update(schema=None),
    "no test": lambda v: v.pop("test"),
    "no measurements": lambda v: v.pop("measurements"),
    "measurements list": lambda v: v.update(measurements=[]),
    "measurement none": lambda v: v["measurements"].update({"": None}),
    "measurement text": lambda v: v["measurements"].update({"": "x"}),
    "sessions none": lambda v: _entry(v).update(sessions=None),
    "sessions empty": lambda v: _entry(v).update(sessions=[]),
    "session text": lambda v: _entry(v).update(sessions=["x"]),
    "metrics list": lambda v: _session(v).update(metrics=[1]),
    "metric none": _throughput(is_=None),
    "value text": _throughput(is_=["fast", 1, 2]),
    "value none": _throughput(is_=[None, 1, 2]),
    "value list": _throughput(is_=[[1], 1, 2]),
    "value nan": _throughput(is_=[float("nan"), 1, 2]),
    "low nan": _throughput(is_=[1, float("nan"), 2]),
    "high infinite": _throughput(is_=[1, 1, float("inf")]),
    "value beyond floats": _throughput(is_=10**400),
    "value outside its interval": _throughput(is_=[5000, 1, 2]),
    "no low": _throughput(is_=[1, 2]),
    "yardstick text": lambda v: _session(v).update(yardstick="1"),
    "yardstick zero": lambda v: _session(v).update(yardstick={"compute": 1, "memory": 0}),
    "yardstick nan": lambda v: _session(v).update(yardstick=float("nan")),
    "half a yardstick": lambda v: _session(v).update(yardstick={"compute": 1}),
    "anchor of a session text": lambda v: _session(v).update(anchor="true"),
    "anchor none": lambda v: _entry(v).update(anchor=None),
    "anchor true": lambda v: _entry(v).update(anchor=True),
    "anchor without changes": lambda v: _entry(v).update(anchor=_session(v)),
    "changes negative": lambda v: _entry(v).update(anchor={**_session(v), "changes": -1}),
    "blocks none": lambda v: _session(v).update(blocks=None),
    "blocks without a spread": lambda v: _session(v).update(blocks={"count": 9}),
    "blocks endless": lambda v: _session(v).update(blocks={"count": 9, "spread": float("inf")}),
    "commit none": lambda v: _session(v).update(commit=None),
    "test number": lambda v: v.update(test=5),
    "slo text": lambda v: _entry(v).update(slo="20ms"),
    "slo nan": lambda v: _entry(v).update(slo=float("nan")),
    "scenario none": lambda v: _entry(v).update(scenario=None),
    "seeds number": lambda v: _entry(v).update(seeds=3),
    "seeds of texts": lambda v: _entry(v).update(seeds=["x"]),
    "definitions list": lambda v: _entry(v).update(definitions=[]),
    "definition none": lambda v: _entry(v).update(definitions={"m": None}),
    "scores list": lambda v: _entry(v).update(scores=[]),
    "scores without metrics": lambda v: _entry(v).update(scores={"rows": 1}),
    "scores of none": lambda v: _entry(v).update(scores={"rows": 1, "metrics": {"m": None}}),
    "rows list": lambda v: _entry(v).update(rows=[]),
    "rows text": lambda v: _entry(v).update(rows="ff"),
    "rows too many": lambda v: _entry(v)["rows"].update(rows=900),
    "rows no bits": lambda v: _entry(v)["rows"].update(right="zz"),
    "environment none": lambda v: _session(v).update(environment=None),
    "environment incomplete": lambda v: _session(v)["environment"].pop("threads"),
    **{
        f"no {field}": lambda v, field=field: _entry(v).pop(field)  # type: ignore[misc]
        for field in MEASURED.to_json()
        if field != "units"  # for people
    },
    **{
        f"no {field} of a session": lambda v, field=field: _session(v).pop(field)  # type: ignore[misc]
        for field in ("commit", "branch", "date", "environment", "metrics")
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_damaged_field(store: BaselineFiles, change: Callable[[dict[str, Any]], object]) -> None:
    """A file with a field that is missing, or is not what it must be, is refused as damaged."""
    value = json.loads(store.path(TEST).read_bytes())
    change(value)
    error = _refused(store, json.dumps(value).encode())
    assert "damaged" in error.problem
    assert "version control" in error.hint
    assert not re.search(r"Error|object has|NoneType|not subscriptable|argument", error.problem)


_OF_A_SESSION = 'measurements[""].sessions[0]'


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("measurements list", "measurements: expected an object, not []"),
        ("no measurements", "measurements: there is no 'measurements'"),
        ("measurement none", 'measurements[""]: expected an object, not null'),
        ("sessions none", 'measurements[""].sessions: expected a list, not null'),
        ("session text", f'{_OF_A_SESSION}: expected an object, not "x"'),
        ("metrics list", f"{_OF_A_SESSION}.metrics: expected an object, not [1]"),
        ("environment none", f"{_OF_A_SESSION}.environment: expected an object, not null"),
        ("environment incomplete", f"{_OF_A_SESSION}.environment: there is no 'threads'"),
        ("anchor true", 'measurements[""].anchor: expected an object, not true'),
        ("rows text", 'measurements[""].rows: expected an object, not "ff"'),
        ("commit none", f"{_OF_A_SESSION}.commit: expected a text, not null"),
        ("test number", "test: expected a text, not 5"),
        ("slo text", 'measurements[""].slo: expected a number, not "20ms"'),
        ("seeds number", 'measurements[""].seeds: expected a list, not 3'),
        ("definitions list", 'measurements[""].definitions: expected an object, not []'),
        ("scores list", 'measurements[""].scores: expected an object, not []'),
        ("value text", f"{_OF_A_SESSION}.metrics.throughput: "),
    ],
)
def test_the_place_of_a_damage(store: BaselineFiles, change: str, problem: str) -> None:
    """Where it is, what was expected, and what is there."""
    value = json.loads(store.path(TEST).read_bytes())
    CHANGES[change](value)
    error = _refused(store, json.dumps(value).encode())
    assert error.problem.startswith(f"it is damaged: {problem}")


@pytest.mark.parametrize("style", ["merge", "diff3"])
def test_a_merge_conflict(tmp_path: Path, style: str) -> None:
    """Two branches that both record: it is named, with its lines and how to solve it."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "config", "merge.conflictStyle", style)
    store = BaselineFiles(tmp_path, MACHINE)

    def recorded(throughput: float, commit: str) -> None:
        measured = make_accepted({"throughput": estimate(throughput)})
        revision = dataclasses.replace(REVISION, commit=commit)
        newest = dataclasses.replace(measured.newest, revision=revision)
        store.save(TEST, "", dataclasses.replace(measured, sessions=(*measured.sessions, newest)))
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "--message", commit)

    recorded(1000.0, "first")
    git(tmp_path, "switch", "--quiet", "-c", "other")
    recorded(1001.0, "theirs")
    git(tmp_path, "switch", "--quiet", "main")
    recorded(1002.0, "ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(tmp_path, "merge", "other")
    path = store.path(TEST)
    lines = path.read_text().splitlines()
    marks = {mark * 7 for mark in "<|=>"}
    marked = [number for number, line in enumerate(lines, 1) if line[:7] in marks]

    error = _refused(store, path.read_bytes())

    assert len(marked) == (3 if style == "merge" else 4)
    listed = ", ".join(map(str, marked))
    assert error.problem == f"it is damaged: it has the marks of a merge conflict (lines {listed})"
    assert 'keep the entries of both sides in "sessions"' in error.hint
    assert "git checkout --ours" in error.hint


def test_metric_that_is_not_known(store: BaselineFiles) -> None:
    """A metric of another version is either kept or refused; saving never loses it or breaks."""
    path = store.path(TEST)
    value = json.loads(path.read_bytes())
    _session(value)["metrics"]["joules"] = 1.0
    content = json.dumps(value).encode()
    path.write_bytes(content)
    try:
        store.save(TEST, "another", MEASURED)
    except BaselineError:
        assert path.read_bytes() == content
    else:
        assert "joules" in _session(json.loads(path.read_bytes()))["metrics"]


@pytest.mark.parametrize(
    ("schema", "age", "hint"),
    [
        (1, "an older", "delete it and record anew (--dlperf-update=new)"),
        (99, "a newer", "upgrade pytest-dlperf"),
    ],
)
def test_another_schema(store: BaselineFiles, schema: int, age: str, hint: str) -> None:
    """A file of another version is refused, with the advice to record it anew or to upgrade."""
    error = _refused(store, json.dumps({"schema": schema, "tests": []}).encode())
    assert error.problem == (
        f"it was written by {age} pytest-dlperf (schema {schema}, this reads {SCHEMA})"
    )
    assert error.hint == hint  # version control has the same file


def test_file_of_another_test(store: BaselineFiles) -> None:
    """A file that belongs to another test (renamed by hand) is refused by that test's name."""
    value = json.loads(store.path(TEST).read_bytes())
    value["test"] = OTHER_TEST
    assert OTHER_TEST in _refused(store, json.dumps(value).encode()).problem


def test_file_that_is_far_too_large(store: BaselineFiles) -> None:
    """A file of many megabytes is refused without being read."""
    path = store.path(TEST)
    with path.open("r+b") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(BaselineError, match="far too large"):
        store.load(TEST)
    with pytest.raises(BaselineError, match="far too large"):
        store.save(TEST, "", MEASURED)
    assert path.stat().st_size == (16 << 20) + 1


def test_folder_in_the_place_of_a_file(store: BaselineFiles) -> None:
    """A folder of that name cannot be read, and stays."""
    path = store.path(TEST)
    path.unlink()
    path.mkdir()
    with pytest.raises(BaselineError, match="cannot be read"):
        store.load(TEST)
    with pytest.raises(BaselineError):
        store.save(TEST, "", MEASURED)
    assert path.is_dir()


def test_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    """Where the machine's folder is a file, loading and saving say so, and the file stays."""
    (tmp_path / MACHINE.slug).write_bytes(b"mine")
    files = BaselineFiles(tmp_path, MACHINE)
    with pytest.raises(BaselineError, match="cannot be read"):
        files.load(TEST)
    with pytest.raises(BaselineError):
        files.save(TEST, "", MEASURED)
    assert (tmp_path / MACHINE.slug).read_bytes() == b"mine"


def _full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk(store: BaselineFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is a BaselineError, and loses nothing that was accepted."""
    path = store.path(TEST)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(BaselineError, match="cannot be written: No space left") as caught:
        store.save(TEST, "", make_accepted(scenario="Offline()"))
    assert caught.value.hint == "nothing was changed"
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_no_file_is_no_baseline(tmp_path: Path) -> None:
    """Where nothing was recorded there is no baseline, and reading makes no folders."""
    root = tmp_path / "baselines"
    assert BaselineFiles(root, MACHINE).load(TEST) is None
    assert read_baseline(root / "x.json") is None
    assert list(all_files(root)) == []
    assert not root.exists()


def _whole(number: int) -> BaselineEntry:
    """A session with every metric, as of a real run."""
    random = np.random.default_rng(number)
    metrics = {
        name: estimate(float(random.lognormal()), 0.0123456) for name in sorted(LOAD_METRICS)
    }
    for name in ("errors", "peak_memory", "compile_time"):
        metrics[name] = counted(float(random.lognormal()))
    revision = Revision("0123456789abcdef" * 2 + "01234567", "main", "2026-11-23")
    return make_accepted(metrics, revision=revision, yardstick=float(random.lognormal()))


def test_a_session_more_is_a_block_of_lines(store: BaselineFiles) -> None:
    """A review shows what was added, a line per metric, and no other line changed."""
    one = _whole(0)
    store.save(TEST, "", one)
    before = store.path(TEST).read_text().splitlines()

    store.save(TEST, "", continued(one.sessions, _whole(1)))

    after = store.path(TEST).read_text().splitlines()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    changes = [change for change in matcher.get_opcodes() if change[0] != "equal"]
    assert {change[0] for change in changes} <= {"insert", "replace"}
    removed = sum(change[2] - change[1] for change in changes)
    assert removed <= 1  # the bracket that gets a comma
    assert len(after) - len(before) == len(LOAD_METRICS) + 8


def test_a_grown_baseline_is_small(store: BaselineFiles) -> None:
    """Thirty sessions with every metric of a load stay below 30 KB, in lines that can be read."""
    store.path(TEST).unlink()
    accepted = _whole(0)
    for number in range(1, MOST_SESSIONS):
        accepted = continued(accepted.sessions, _whole(number))

    store.save(TEST, "", accepted)

    content = store.path(TEST).read_text()
    assert len(content) < 30_000
    assert max(map(len, content.splitlines())) <= 140
    loaded = store.load(TEST)
    assert loaded is not None
    assert len(loaded.accepted[""].sessions) == MOST_SESSIONS


def _replaced(store: BaselineFiles, changes: int) -> None:
    """Accept a number of changes, one after the other."""
    for number in range(changes):
        changed = _whole(number + 1)
        store.save(TEST, "", dataclasses.replace(changed, anchor=changed.newest))


def test_the_anchor_outlives_changes(store: BaselineFiles) -> None:
    """It stays as it was recorded, to the figure, and the changes since are counted."""
    first = dataclasses.replace(MEASURED, anchor=MEASURED.newest)
    store.path(TEST).unlink()
    store.save(TEST, "", first)
    assert _session(json.loads(store.path(TEST).read_bytes()))["anchor"] is True

    _replaced(store, 3)

    loaded = store.load(TEST)
    assert loaded is not None
    accepted = loaded.accepted[""]
    assert accepted.anchor is not None
    assert accepted.anchor.metrics["throughput"] == MEASURED.metrics["throughput"]
    assert (accepted.changes, len(accepted.sessions)) == (3, 1)
    anchor = _entry(json.loads(store.path(TEST).read_bytes()))["anchor"]
    assert (anchor["commit"], anchor["changes"]) == (MEASURED.revision.commit, 3)


def test_two_runs_that_accept_a_change_each(tmp_path: Path, store: BaselineFiles) -> None:
    """Both are counted, though each was read before the other was written."""
    store.save(TEST, "", dataclasses.replace(MEASURED, anchor=MEASURED.newest))
    old = store.load(TEST)
    assert old is not None
    for number in (1, 2):
        changed = dataclasses.replace(_whole(number), anchor=_whole(number).newest)
        meant = changed.following(old.accepted[""])
        BaselineFiles(tmp_path, MACHINE).save(TEST, "", meant)

    loaded = store.load(TEST)
    assert loaded is not None
    assert loaded.accepted[""].changes == 2


def test_moving_an_anchor(store: BaselineFiles) -> None:
    """Only the measurement that is named changes, and of it only where the anchor is."""
    store.save(TEST, "", dataclasses.replace(MEASURED, anchor=MEASURED.newest))
    _replaced(store, 2)
    store.save(TEST, "big", dataclasses.replace(MEASURED, anchor=MEASURED.newest))
    before = json.loads(store.path(TEST).read_bytes())

    moved = move_anchors(store.path(TEST), {""})

    after = json.loads(store.path(TEST).read_bytes())
    assert moved.accepted[""].anchor == moved.accepted[""].newest
    assert _session(after).pop("anchor") is True
    del _entry(before)["anchor"]
    assert after == before
    move_anchors(store.path(TEST), {""})


def test_moving_an_anchor_is_two_lines(store: BaselineFiles) -> None:
    """A review shows the old and the new place, and nothing else."""
    first = dataclasses.replace(MEASURED, anchor=MEASURED.newest)
    store.save(TEST, "", first)
    store.save(TEST, "", continued(first.sessions, _whole(1)))
    before = store.path(TEST).read_text().splitlines()

    move_anchors(store.path(TEST), {""})

    after = store.path(TEST).read_text().splitlines()
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert [line[0] + line[1:].strip() for line in changed] == [
        '-"anchor": true,',
        '+"anchor": true,',
    ]


@pytest.mark.parametrize(
    "damage", [b"{", b'{"schema": 99}', b'{"schema": 3, "test": "t", "measurements": {}}']
)
def test_moving_an_anchor_of_a_damaged_file(store: BaselineFiles, damage: bytes) -> None:
    """The file is named and stays as it is."""
    path = store.path(TEST)
    path.write_bytes(damage)

    with pytest.raises(BaselineError) as caught:
        move_anchors(path, {""})

    assert caught.value.path == str(path)
    assert path.read_bytes() == damage
    path.unlink()
    with pytest.raises(BaselineError, match="not there any more"):
        move_anchors(path, {""})


def test_moving_an_anchor_on_a_full_disk(
    store: BaselineFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, and the error has the reason."""
    before = store.path(TEST).read_bytes()
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(BaselineError, match="cannot be written: No space left"):
        move_anchors(store.path(TEST), {""})
    assert store.path(TEST).read_bytes() == before


def test_a_test_whose_file_name_is_no_text(store: BaselineFiles) -> None:
    """A node id may hold bytes that are no UTF-8; it has a baseline as others do."""
    store.save("test_\udcff.py::test_it", "", make_accepted())
    assert store.load("test_\udcff.py::test_it") is not None
    assert store.load("test_\udcfe.py::test_it") is None
