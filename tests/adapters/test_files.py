"""Baseline files: what was accepted is read back, and what is damaged is never touched."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from builders import MACHINE, estimate, make_accepted, make_rows
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.adapters.files import BaselineFiles, all_files, read_baseline
from pytest_dlperf.core.baseline import SCHEMA, Baseline
from pytest_dlperf.errors import BaselineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.core.baseline import Accepted

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


def _plain(baseline: Baseline | None) -> dict[str, Any]:
    assert baseline is not None
    return baseline.to_json(MACHINE)


_NAMES = st.text(max_size=30)
_SAVED = st.lists(
    st.tuples(
        st.sampled_from([TEST, OTHER_TEST, "ü::ü", ""]) | _NAMES,
        st.sampled_from(["", "big"]) | _NAMES,
        st.builds(
            make_accepted,
            st.dictionaries(
                st.sampled_from(["throughput", "p99", "loss"]),
                st.integers(0, 999_999).map(lambda value: estimate(float(value))),
            ),
            scenario=st.text(max_size=8),
            rows=st.none() | st.lists(st.booleans(), max_size=9).map(make_rows),
        ),
    ),
    max_size=5,
)


@given(_SAVED)
def test_round_trip(saved: list[tuple[str, str, Accepted]]) -> None:
    """What was saved last under each test and name is loaded, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        files = BaselineFiles(Path(folder), MACHINE)
        wanted: dict[str, dict[str, Accepted]] = {}
        for test, name, accepted in saved:
            files.save(test, name, accepted)
            wanted.setdefault(test, {})[name] = accepted
        for test, accepted_by_name in wanted.items():
            assert _plain(files.load(test)) == Baseline(test, accepted_by_name).to_json(MACHINE)
        assert files.load("a test that was never saved") is None
        assert len(list(all_files(Path(folder)))) == len(wanted)


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
    """People find the file of a test by its name."""
    assert (
        BaselineFiles(tmp_path, MACHINE)
        .path("tests/test_model.py::test_fast[1]")
        .name.startswith("tests.test_model.py--test_fast[1]-")
    )


def test_machine_classes_are_apart(tmp_path: Path, store: BaselineFiles) -> None:
    """A baseline of one machine class is none of another."""
    other = BaselineFiles(tmp_path, dataclasses.replace(MACHINE, cores=64))
    assert other.load(TEST) is None
    other.save(TEST, "", make_accepted(scenario="Offline()"))
    loaded = store.load(TEST)
    assert loaded is not None
    assert loaded.accepted[""].scenario == MEASURED.scenario
    assert len(list(all_files(tmp_path))) == 2


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
        b'{"schema": 1}',
        b'{"schema": 1, "test": "t"}',
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


def _throughput(value: dict[str, Any]) -> dict[str, Any]:
    metric: dict[str, Any] = _entry(value)["metrics"]["throughput"]
    return metric


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "schema 0": lambda v: v.update(schema=0),
    "schema text": lambda v: v.update(schema="1"),
    "schema none": lambda v: v.update(schema=None),
    "no test": lambda v: v.pop("test"),
    "no measurements": lambda v: v.pop("measurements"),
    "measurements list": lambda v: v.update(measurements=[]),
    "measurement none": lambda v: v["measurements"].update({"": None}),
    "measurement text": lambda v: v["measurements"].update({"": "x"}),
    "metrics list": lambda v: _entry(v).update(metrics=[]),
    "metric none": lambda v: _entry(v)["metrics"].update(throughput=None),
    "value text": lambda v: _throughput(v).update(value="fast"),
    "value none": lambda v: _throughput(v).update(value=None),
    "value list": lambda v: _throughput(v).update(value=[1]),
    "value nan": lambda v: _throughput(v).update(value=float("nan")),
    "low nan": lambda v: _throughput(v).update(low=float("nan")),
    "high infinite": lambda v: _throughput(v).update(high=float("inf")),
    "value beyond floats": lambda v: _throughput(v).update(value=10**400),
    "value outside its interval": lambda v: _throughput(v).update(value=5000.0),
    "no low": lambda v: _throughput(v).pop("low"),
    "rows list": lambda v: _entry(v).update(rows=[]),
    "rows text": lambda v: _entry(v).update(rows="ff"),
    "rows too many": lambda v: _entry(v)["rows"].update(rows=900),
    "rows no bits": lambda v: _entry(v)["rows"].update(right="zz"),
    "environment none": lambda v: _entry(v).update(environment=None),
    "environment incomplete": lambda v: _entry(v)["environment"].pop("threads"),
    **{
        f"no {field}": lambda v, field=field: _entry(v).pop(field)  # type: ignore[misc]
        for field in MEASURED.to_json()
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


def test_metric_that_is_not_known(store: BaselineFiles) -> None:
    """A metric of another version is either kept or refused; saving never loses it or breaks."""
    path = store.path(TEST)
    value = json.loads(path.read_bytes())
    _entry(value)["metrics"]["joules"] = _throughput(value)
    content = json.dumps(value).encode()
    path.write_bytes(content)
    try:
        store.save(TEST, "another", MEASURED)
    except BaselineError:
        assert path.read_bytes() == content
    else:
        assert "joules" in _entry(json.loads(path.read_bytes()))["metrics"]


@pytest.mark.parametrize("schema", [SCHEMA + 1, SCHEMA + 100])
def test_newer_schema(store: BaselineFiles, schema: int) -> None:
    """A file of a newer version is refused with the advice to upgrade, whatever else it holds."""
    error = _refused(store, json.dumps({"schema": schema, "tests": []}).encode())
    assert f"schema {schema}" in error.problem
    assert "newer" in error.problem
    assert "upgrade" in error.hint


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


def test_full_disk(store: BaselineFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is a BaselineError, and loses nothing that was accepted."""
    path = store.path(TEST)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
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
