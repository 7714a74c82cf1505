"""`pytest-dlperf doctor`, with a measurement of known noise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from checkups import drawn, noise_of

from pytest_dlperf.cli import main
from pytest_dlperf.doctor import measure as doctor
from pytest_dlperf.duel.worker_process import WorkerLost

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = noise_of(drawn((0.01, -0.01, 0.01), 0.02))
    monkeypatch.setattr(doctor, "measure_noise", lambda *_: measurement)


@pytest.mark.usefixtures("_measured")
def test_a_report_and_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report is printed, the file has the same values, and the exit status is 0."""
    file = tmp_path / "new" / "doctor.json"
    assert main(["doctor", "--json", str(file)]) == 0

    printed = capsys.readouterr()
    assert "3 pairs of identical code" in printed.out
    assert printed.err == ""
    content = json.loads(file.read_text())
    assert (content["schema"], content["noise"]["pairs"]) == (2, 3)


@pytest.mark.usefixtures("_measured")
def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error before anything is measured, since that takes most of a minute."""
    assert main(["doctor", "--json", str(tmp_path)]) == 2
    assert main(["doctor", "--json", "/proc/nowhere/out"]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"--json {tmp_path} is a folder; name a file" in printed.err
    assert "--json /proc/nowhere/out cannot be written: " in printed.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "pytest-dlperf: interrupted\n"),
        (WorkerLost("the base side died", "why"), 2, "pytest-dlperf: the base side died"),
    ],
)
def test_errors(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C and lost processes end in one sentence, not in a traceback."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(doctor, "measure_noise", fail)
    assert main(["doctor"]) == code
    assert capsys.readouterr().err.startswith(message)
