"""`pytest-dlperf baselines rename`: a test's baselines go with it, on all machine classes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from builders import MACHINE, make_accepted, make_rows

from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHER = dataclasses.replace(MACHINE, memory=64)
OLD = "tests/test_model.py::test_fast[small-1]"
NEW = "tests/test_digits.py::TestIt::test_fast[1]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with baselines of one test, on two machine classes."""
    for machine in (MACHINE, OTHER):
        store = BaselineFiles(tmp_path / FOLDER, machine)
        store.save(OLD, "one", make_accepted(rows=make_rows([1, 0, 1])))
        store.save(OLD, "two", make_accepted())
    return tmp_path


@pytest.fixture
def rename(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Runs the command; returns what it says."""

    def run(old: str = OLD, new: str = NEW, code: int = 0) -> list[str]:
        assert main(["baselines", "rename", old, new, "--rootdir", str(folder)]) == code
        said = capsys.readouterr()
        return (said.err if code else said.out).splitlines()

    return run


def test_all_that_was_accepted_goes_with_the_test(
    folder: Path, rename: Callable[..., list[str]]
) -> None:
    """Nothing of it changes but the test's name: one line of each file."""
    stores = [BaselineFiles(folder / FOLDER, machine) for machine in (MACHINE, OTHER)]
    before = [store.path(OLD).read_text().splitlines() for store in stores]

    lines = rename()

    assert lines[:2] == [f"{machine.slug}: renamed" for machine in (MACHINE, OTHER)]
    assert "the history still has it under the old name" in lines[2]
    for store, old in zip(stores, before, strict=True):
        assert store.load(OLD) is None
        found = store.load(NEW)
        assert found is not None
        assert set(found.accepted) == {"one", "two"}
        new = store.path(NEW).read_text().splitlines()
        changed = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
        assert changed == [(f'  "test": "{OLD}",', f'  "test": "{NEW}",')]


def test_a_baseline_of_the_new_name_is_not_overwritten(
    folder: Path, rename: Callable[..., list[str]]
) -> None:
    """Nor is that of the other machine class renamed then."""
    BaselineFiles(folder / FOLDER, OTHER).save(NEW, "", make_accepted())

    assert f"{NEW} has a baseline on {OTHER.slug} already" in rename(code=2)[0]

    for machine in (MACHINE, OTHER):
        assert BaselineFiles(folder / FOLDER, machine).load(OLD) is not None


def test_what_was_cut_short_can_be_done_again(
    folder: Path, rename: Callable[..., list[str]]
) -> None:
    """A machine class whose baseline is renamed already does not matter to the others."""
    store = BaselineFiles(folder / FOLDER, MACHINE)
    store.path(OLD).unlink()
    store.save(NEW, "", make_accepted())

    assert rename()[0] == f"{OTHER.slug}: renamed"


def test_no_such_test(rename: Callable[..., list[str]]) -> None:
    """The nearest names are given."""
    said = rename(OLD.replace("fast", "fest"), code=2)
    assert "no baseline of" in said[0]
    assert f"did you mean {OLD}?" in said[1]

    assert rename("x", code=2)[1] == "  pytest-dlperf baselines lists what is there"


def test_no_node_id(folder: Path, rename: Callable[..., list[str]]) -> None:
    """A slip of the tongue makes no baseline that no test will ever find."""
    assert "'test_digits' is no node id" in rename(OLD, "test_digits", code=2)[0]

    assert BaselineFiles(folder / FOLDER, MACHINE).load(OLD) is not None


def test_a_damaged_file_stops_it_before_anything_changes(
    folder: Path, rename: Callable[..., list[str]]
) -> None:
    """It is to be mended first."""
    BaselineFiles(folder / FOLDER, OTHER).path(OLD).write_text("{")

    assert "it is damaged" in rename(code=2)[0]

    assert BaselineFiles(folder / FOLDER, MACHINE).load(OLD) is not None


def test_a_folder_that_cannot_be_written(
    folder: Path, rename: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file stays, and it is said."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_dlperf.baselines.files.write_atomically", full)

    assert "No space left on device" in rename(code=2)[0]

    assert BaselineFiles(folder / FOLDER, MACHINE).load(OLD) is not None
    assert BaselineFiles(folder / FOLDER, MACHINE).load(NEW) is None
