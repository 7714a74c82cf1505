"""The doctor's processes: forked where a duel's are, and gone at the end."""

from __future__ import annotations

import contextlib
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from pytest_dlperf.doctor import sides as doctor
from pytest_dlperf.doctor.sides import IdenticalSides, worker_variables
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.worker_handle import WorkerHandle
from pytest_dlperf.errors import DuelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_dlperf.duel.worker_handle import Role
    from pytest_dlperf.duel.worker_process import WorkerProcess

QUICK = """
import numpy as np
import time

def test_speed(dlperf):
    dlperf(lambda rows: rows.sum(axis=1), (np.ones((64, 8), np.float32), None))
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of a quick test, in the place of the reference architecture's."""
    file = tmp_path / "quick.py"
    file.write_text(QUICK)
    module = SimpleNamespace(__file__=str(file))
    monkeypatch.setattr(doctor, "reference", module)
    monkeypatch.setattr(doctor, "keras_models", module)
    return file


@contextlib.contextmanager
def started() -> Iterator[IdenticalSides]:
    """The sides, of which nothing is left at the end."""
    before = psutil.Process().children()
    with CleanupProcess() as cleanup:
        sides = IdenticalSides(os.environ, cleanup, np.random.default_rng(0))
        try:
            yield sides
        finally:
            sides.close()
        children = {*psutil.Process().children()} - {*before}
        folder = sides.folder
        # Of what was killed, the last may take a moment to die.
        _, left = psutil.wait_procs([one for one in children if one.pid != cleanup.pid], 60)
        assert not left
    assert not folder.exists()


@pytest.mark.subprocess
@pytest.mark.usefixtures("quick")
def test_pairs_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other; each pair is two processes of its own, started by a coin."""
    processes, roles = set(), []

    class Handle(WorkerHandle):
        def __init__(self, process: WorkerProcess, role: Role, *others: Any) -> None:  # noqa: ANN401
            roles.append(role)
            super().__init__(process, role, *others)

    monkeypatch.setattr(doctor, "WorkerHandle", Handle)
    with started() as sides:
        with sides.first() as (pair, settings):
            assert settings.slot_seconds >= 0.005
            slots = [side.slot(settings.slot_seconds, 0) for side in (pair.base, pair.candidate)]
            processes |= {pair.base.pid, pair.candidate.pid}
        for _ in range(2):
            with sides.further() as pair:
                pair.base.keep_on(settings.processors)
                slots += [side.slot(0.005, 1) for side in (pair.base, pair.candidate)]
                processes |= {pair.base.pid, pair.candidate.pid}
                assert pair.meter.usage().process > 0
        assert sides.spawned == ""
    assert len(processes) == 6
    assert {tuple(roles[pair : pair + 2]) for pair in (0, 2, 4)} == {
        ("base", "candidate"),
        ("candidate", "base"),
    }
    assert all(slot.good > 0 and slot.bad == 0 for slot in slots)


@pytest.mark.subprocess
def test_pairs_that_cannot_be_forked(quick: Path) -> None:
    """They are started as new programs, and it is said why."""
    quick.write_text(f"import os\nos.environ['OMP_NUM_THREADS'] = '7'\n{QUICK}")
    with started() as sides:
        with sides.first() as (pair, settings):
            assert pair.candidate.slot(settings.slot_seconds, 0).good > 0
        with sides.further() as pair:
            assert pair.base.slot(settings.slot_seconds, 1).good > 0
        assert "OMP_NUM_THREADS is set after" in sides.spawned


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_module", "no_such_module"),
        ("def test_speed(dlperf):\n    raise ValueError('no such layer')", "no such layer"),
        ("def test_speed(dlperf):\n    pass", "its test ended before"),
    ],
)
def test_sides_that_do_not_measure(quick: Path, source: str, error: str) -> None:
    """What went wrong there is in the error."""
    quick.write_text(source)
    lost = pytest.raises(DuelError, match=f"did not come to its measurement: .*{error}")
    with started() as sides, lost, sides.first():
        pass


@pytest.mark.usefixtures("quick")
def test_what_only_a_new_program_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sitecustomize forbids forks from the start."""
    (tmp_path / "sitecustomize.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with started() as sides:
        assert "sitecustomize" in sides.spawned


def test_no_room_for_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says what to do."""
    monkeypatch.setattr(doctor.tempfile, "gettempdir", lambda: "/proc")
    with pytest.raises(UsageError, match="cannot be written") as caught, started():
        pass

    assert "TMPDIR" in (caught.value.hint or "")


def test_environments_of_sides() -> None:
    """The user's variables stay, but for options of pytest; GPUs are hidden."""
    variables = worker_variables(
        {"HOME": "/home", "PYTEST_ADDOPTS": "-n 4", "TF_CPP_MIN_LOG_LEVEL": "0", "PATH": "/bin"}
    )

    assert variables == {
        "HOME": "/home",
        "PATH": "/bin",
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "HIP_VISIBLE_DEVICES": "-1",
    }


@pytest.mark.tensorflow
def test_the_reference_architecture() -> None:
    """Its sides are forked, and measure slots."""
    with started() as sides, sides.first() as (pair, settings):
        slots = [side.slot(settings.slot_seconds, 1) for side in (pair.base, pair.candidate)]
        assert sides.spawned == ""
        assert all(slot.good > 0 and slot.bad == 0 for slot in slots)
