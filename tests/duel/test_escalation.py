"""Which arguments of a run are passed on to a duel over one of its tests."""

from __future__ import annotations

import pytest

from pytest_dlperf.duel.escalation import carried_over


@pytest.mark.parametrize(
    ("arguments", "paths", "kept"),
    [
        (["tests", "-q"], ["tests"], ["-q"]),
        (["-k", "fast", "--dlperf-escalate"], [], ["-k", "fast"]),
        (["--dlperf-json=a.json", "--model", "big"], [], ["--model", "big"]),
        (["--dlperf-json", "a.json", "-x"], [], ["-x"]),
        (["--junitxml", "a.xml", "--junitxml=b.xml", "-o", "x=y"], [], ["-o", "x=y"]),
        (["-n", "0", "-n0", "-n1", "--numprocesses=1", "--dist", "no"], [], []),
        (["--lf", "--ff", "--sw", "--pdb", "--trace", "--cache-clear"], [], []),
        (["--no-header", "-no"], [], ["--no-header", "-no"]),
        (["--dlperf-duration=1s", "--dlperf-pairs", "2"], [], None),
        (["a.py::t", "a.py::t", "-v"], ["a.py::t", "a.py::t"], ["-v"]),
        (["--dlperf-json"], [], []),
    ],
)
def test_arguments(arguments: list[str], paths: list[str], kept: list[str] | None) -> None:
    """All but what is collected, what a duel refuses, and files that would be written twice."""
    wanted = arguments if kept is None else kept

    assert carried_over(arguments, paths) == tuple(wanted)
