"""The journal of a study: what is written is there after any end, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.tuning.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path


def journal(path: Path) -> Journal:
    """One that must not complain."""
    return Journal(path, pytest.fail)


def test_what_is_added_is_read_in_order(tmp_path: Path) -> None:
    """Lines come back as they were added, by another process as well."""
    path = tmp_path / "deep" / "study.jsonl"
    journal(path).add({"trial": 1})
    journal(path).add({"trial": 2})

    assert journal(path).lines() == ({"trial": 1}, {"trial": 2})


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    """A study that never ran has no trials, and that is no trouble."""
    assert journal(tmp_path / "study.jsonl").lines() == ()


@pytest.mark.parametrize(
    "torn",
    [b'{"version": 1, "tri', b"\xff\xfe", b"[1]\n", b'{"version": 99, "trial": 0}\n', b'"text"\n'],
)
def test_a_torn_or_strange_line_spoils_no_other(tmp_path: Path, torn: bytes) -> None:
    """Half a line, or one of another version, is passed over, and so is nothing after it."""
    path = tmp_path / "study.jsonl"
    journal(path).add({"trial": 1})
    with path.open("ab") as file:
        file.write(torn)
    journal(path).add({"trial": 2})

    assert journal(path).lines() == ({"trial": 1}, {"trial": 2})


def test_to_forget_is_to_begin_anew(tmp_path: Path) -> None:
    """What was forgotten is not read again, and new lines are."""
    kept = journal(tmp_path / "study.jsonl")
    kept.add({"trial": 1})
    kept.forget()
    kept.add({"trial": 2})

    assert kept.lines() == ({"trial": 2},)


def test_one_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    """It says so once, and raises nothing."""
    (tmp_path / "file").write_text("")
    warnings: list[str] = []
    kept = Journal(tmp_path / "file" / "study.jsonl", warnings.append)

    kept.add({"trial": 1})
    kept.add({"trial": 2})

    (sentence,) = warnings
    assert "the trials are not kept" in sentence
    assert "File exists" in sentence


_WRITER = """
import sys
from pathlib import Path
from pytest_dlperf.tuning.journal import Journal
journal = Journal(Path(sys.argv[1]), print)
number = 0
while True:
    journal.add({"by": int(sys.argv[2]), "number": number, "padding": "x" * 5000})
    number += 1
    print(number, flush=True)
"""


def test_two_writers_that_are_killed_leave_whole_lines(tmp_path: Path) -> None:
    """Kill -9 while two write at once: each line that was acknowledged is there, once, in order."""
    path = tmp_path / "study.jsonl"
    writers = [
        subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _WRITER, str(path), str(number)], stdout=subprocess.PIPE
        )
        for number in range(2)
    ]
    acknowledged = []
    for writer in writers:
        assert writer.stdout is not None
        acknowledged.append([int(writer.stdout.readline()) for _ in range(20)][-1])
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()

    journal(path).add({"by": 2, "number": 0})
    lines = journal(path).lines()
    for number, least in enumerate(acknowledged):
        numbers = [line["number"] for line in lines if line["by"] == number]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= least
    assert lines[-1] == {"by": 2, "number": 0}
