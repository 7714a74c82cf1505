"""Unused baselines: which tests are gone, and what they may be called now."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.baselines.unused import (
    Collected,
    Unused,
    nearest_names,
    not_there,
    unused_lines,
    with_new_names,
)

NOTHING: frozenset[str] = frozenset()
ONE = frozenset({""})
FILE = "tests/test_model.py"


def collected(*tests: str, modules: tuple[str, ...] = (FILE,)) -> Collected:
    """A collection of these tests and modules."""
    return Collected(frozenset(tests), frozenset(modules))


@pytest.mark.parametrize(
    ("test", "there"),
    [
        (f"{FILE}::test_fast", True),
        (f"{FILE}::test_gone", False),
        (f"{FILE}::test_fast[8]", False),
        (f"{FILE}::TestIt::test_fast", False),
        (f"{FILE}::test_sizes[64]", True),
        (f"{FILE}::test_sizes[65]", False),
        # Devices are said when pytest is started: they come and go.
        (f"{FILE}::test_fast[cpu:0]", True),
        (f"{FILE}::test_gone[cpu:0]", False),
        (f"{FILE}::test_sizes[gpu:1-64]", True),
        (f"{FILE}::test_sizes[64-gpu:1]", True),
        (f"{FILE}::test_sizes[gpu:1-65]", False),
        (f"{FILE}::test_sizes[gpu:1]", False),
        (f"{FILE}::test_placed[cpu:1]", True),
        (f"{FILE}::test_placed", True),
        # Its file was not collected.
        ("perf/test_other.py::test_fast", True),
        # Its file does not exist.
        ("tests/test_removed.py::test_fast", False),
    ],
)
def test_which_tests_are_there(test: str, *, there: bool) -> None:
    """A test is gone if its file is, or if that was collected without it."""
    here = collected(f"{FILE}::test_fast", f"{FILE}::test_sizes[64]", f"{FILE}::test_placed[cpu:0]")

    gone = not_there([test], here, frozenset({"tests/test_removed.py"}))

    assert gone == (() if there else (test,))


_TESTS = st.sets(st.sampled_from([f"{FILE}::test_{n}" for n in "abcdef"]))


@given(_TESTS, _TESTS)
def test_what_was_collected_is_there(tests: set[str], here: set[str]) -> None:
    """Exactly the tests that were not collected are gone, sorted and each once."""
    present = collected(*here)

    assert list(not_there([*tests, *tests], present, NOTHING)) == sorted(tests - here)
    assert not_there(tests, Collected(frozenset(here), NOTHING), NOTHING) == ()


def test_a_renamed_test_is_found() -> None:
    """The most alike without a baseline, whose measurements have the same names."""
    old = f"{FILE}::test_digits_under_load"
    fresh = {
        f"{FILE}::test_digits_under_heavy_load": ONE,
        f"{FILE}::test_training": ONE,
        f"{FILE}::test_digits_under_loads": frozenset({"small", "large"}),
    }

    assert with_new_names({old: ONE}, fresh) == (
        Unused(old, f"{FILE}::test_digits_under_heavy_load"),
    )


def test_names_that_are_not_known_do_not_matter() -> None:
    """A test that was only collected may have measurements of any name."""
    old, new = f"{FILE}::test_digits", f"{FILE}::test_digit"

    assert with_new_names({old: ONE}, {new: None}) == (Unused(old, new),)
    assert with_new_names({old: ONE}, {new: NOTHING}) == (Unused(old),)


def test_nothing_alike() -> None:
    """Below six tenths of equal text there is no guess."""
    assert with_new_names({"abcdefghij": ONE}, {"abcdeXXXXX": ONE}) == (Unused("abcdefghij"),)
    assert with_new_names({"abcdefghij": ONE}, {"abcdefXXXX": ONE}) == (
        Unused("abcdefghij", "abcdefXXXX"),
    )


def test_no_test_is_taken_for_two() -> None:
    """The best pair of all comes first; the other baseline takes the next best, or none."""
    result = with_new_names({"test_a1": ONE, "test_a2": ONE}, {"test_a2x": ONE})
    assert result == (Unused("test_a1"), Unused("test_a2", "test_a2x"))

    result = with_new_names({"test_a1": ONE, "test_a2": ONE}, {"test_a2x": ONE, "test_bb": ONE})
    assert result == (Unused("test_a1", "test_bb"), Unused("test_a2", "test_a2x"))


_NAMED = st.dictionaries(
    st.text("ab_", min_size=1, max_size=6), st.sampled_from([ONE, frozenset({"x"})]), max_size=5
)


@given(_NAMED, _NAMED)
def test_every_unused_baseline_is_there_once(
    unused: dict[str, frozenset[str]], fresh: dict[str, frozenset[str] | None]
) -> None:
    """Guesses are fresh tests, each of one baseline, with the same names of measurements."""
    result = with_new_names(unused, fresh)

    assert [baseline.test for baseline in result] == sorted(unused)
    guesses = [baseline for baseline in result if baseline.renamed]
    assert len({guess.renamed for guess in guesses}) == len(guesses)
    assert all(fresh[guess.renamed] == unused[guess.test] for guess in guesses)


def test_too_many_to_guess() -> None:
    """A hundred baselines of a hundred new tests are not compared one by one."""
    unused = {f"test_{n}": ONE for n in range(100)}
    fresh = {f"test_{n}x": ONE for n in range(100)}

    assert not any(baseline.renamed for baseline in with_new_names(unused, fresh))


def test_nearest_names() -> None:
    """The most similar names, best first."""
    known = [f"{FILE}::test_fast", f"{FILE}::test_faster", "other.py::x"]

    assert nearest_names(f"{FILE}::test_fas", known) == known[:2]
    assert nearest_names("zzz", known) == []


def test_nothing_is_unused() -> None:
    """Without unused baselines there are no lines."""
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
    assert max(map(len, lines)) <= 80


def test_commands_can_be_copied() -> None:
    """A shell reads them as they are meant, whatever the tests are called."""
    unused = Unused("a.py::test_x[a b'$HOME]", "a.py::test_y[*]")

    *_, command, _ = unused_lines([unused])

    assert shlex.split(command)[-2:] == [unused.test, unused.renamed]
