"""Unused baselines in pytest's summary."""

from __future__ import annotations

import shlex

import pytest

from pytest_dlperf.baselines.unused import Unused, rename_command, unused_lines


def test_nothing_is_unused() -> None:
    """Nothing is said."""
    assert unused_lines(()) == []


def test_one_and_its_new_name() -> None:
    """The baseline, the whole command that keeps it, and the one that removes it."""
    assert unused_lines([Unused("a.py::test_x", "a.py::test_y")]) == [
        "",
        "1 baseline of tests that were not collected:",
        "  a.py::test_x",
        "    looks renamed:",
        "    pytest-dlperf baselines rename a.py::test_x a.py::test_y",
        "pytest-dlperf baselines prune removes what is not needed any more",
    ]


@pytest.mark.parametrize("count", [5, 6, 30])
def test_five_are_named(count: int) -> None:
    """Those that look renamed come first, since something can be done for them."""
    unused = [Unused(f"a.py::test_{n:02}") for n in range(count)]
    unused[-1] = Unused(f"a.py::test_{count - 1:02}", "a.py::test_new")

    lines = unused_lines(unused)

    named = [line for line in lines if line.startswith("  a.py")]
    assert len(named) == 5
    assert named[0] == f"  a.py::test_{count - 1:02}"
    assert (f"  and {count - 5} more" in lines) is (count > 5)


def test_commands_can_be_copied() -> None:
    """A shell reads them as they are meant, whatever the tests are called."""
    unused = Unused("a.py::test_x[a b'$HOME]", "a.py::test_y[*]")

    assert shlex.split(rename_command(unused))[-2:] == [unused.test, unused.renamed]
