"""Unused baselines are listed after a run of all tests, and after no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from builders import make_accepted
from plugin_projects import text

from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.machine import machine_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugin_projects import Run

QUICK = """
def test_digits(dlperf):
    dlperf(identity, DATA, **SHORT)

@pytest.mark.parametrize("n", [1, 2])
def test_sizes(n):
    pass
"""

NAMED = """
def test_digits(dlperf):
    dlperf(identity, DATA, **SHORT)

@pytest.mark.parametrize("n", [1, 2])
def test_sizes(dlperf, n):
    dlperf(identity, DATA, name="one", **SHORT)
    dlperf(identity, DATA, name="two", **SHORT)
"""

GONE = "test_module.py::test_gone"
RENAME = "pytest-dlperf baselines rename"
LISTED = "of tests that were not collected"


@pytest.fixture
def recorded(pytester: pytest.Pytester) -> Callable[..., None]:
    """Writes baselines of this machine class."""

    def record(*tests: str, names: tuple[str, ...] = ("",)) -> None:
        store = BaselineFiles(pytester.path / FOLDER, machine_class())
        for test in tests:
            for name in names:
                store.save(test, name, make_accepted())

    return record


def quick(run: Run, *options: str) -> pytest.RunResult:
    """A smoke run of the tests above."""
    return run(QUICK, "--dlperf-quick", *options)


def test_a_whole_run_lists_them(run: Run, recorded: Callable[..., None]) -> None:
    """Only baselines without a test are listed, with what to do."""
    recorded("test_module.py::test_digits", "test_module.py::test_sizes[1]", GONE)

    result = quick(run)

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            f"1 baseline {LISTED}:",
            f"  {GONE}",
            "pytest-dlperf baselines prune removes what is not needed any more",
        ]
    )
    assert "rename" not in text(result)


def test_a_renamed_test_is_offered(run: Run, recorded: Callable[..., None]) -> None:
    """One that is much alike and has measurements of the same names, with the whole command."""
    recorded("test_module.py::test_digit")
    recorded("test_module.py::test_size[1]", "test_module.py::test_size[2]", names=("one", "two"))

    result = run(NAMED, "--dlperf-quick")

    result.stdout.fnmatch_lines(
        [
            f"3 baselines {LISTED}:",
            "  test_module.py::test_digit",
            "    looks renamed:",
            f"    {RENAME} test_module.py::test_digit test_module.py::test_digits",
            "  test_module.py::test_size[[]1]",
            f"    {RENAME} 'test_module.py::test_size[[]1]' 'test_module.py::test_sizes[[]1]'",
        ]
    )


@pytest.mark.parametrize(
    "options",
    [
        ["-k", "digits"],
        ["-m", "not nothing", "--deselect=test_module.py::test_digits"],
        ["test_module.py"],
        ["test_module.py::test_digits"],
        ["--lf"],
        ["--ignore=elsewhere"],
        ["--ignore-glob=elsewhere*"],
        ["-o", "python_functions=test_d*"],
        ["--collect-only"],
        ["--dlperf-skip"],
    ],
)
def test_a_part_of_the_tests_lists_nothing(
    run: Run, recorded: Callable[..., None], options: list[str]
) -> None:
    """Where not all was collected or run, it is unknown which tests are gone."""
    recorded(GONE)

    assert LISTED not in text(quick(run, *options))


def test_what_cannot_be_collected_lists_nothing(
    run: Run, recorded: Callable[..., None], pytester: pytest.Pytester
) -> None:
    """The baseline's test may be in the module that is broken."""
    recorded(GONE, "test_broken.py::test_it")
    broken = pytester.makepyfile(test_broken="import nothing_of_this_name")

    assert LISTED not in text(quick(run, "--continue-on-collection-errors"))

    broken.write_text("import pytest\npytest.skip('not here', allow_module_level=True)\n")
    result = quick(run)
    assert f"1 baseline {LISTED}: {GONE}" in text(result)


def test_a_test_that_must_be_named_is_not_gone(
    run: Run, recorded: Callable[..., None], pytester: pytest.Pytester
) -> None:
    """A file outside of testpaths is collected only when it is named; a removed one is gone."""
    pytester.makeini("[pytest]\ntestpaths = test_module.py\n")
    (pytester.path / "perf").mkdir()
    (pytester.path / "perf" / "test_more.py").write_text("")
    recorded("perf/test_more.py::test_it", "perf/test_removed.py::test_it")

    result = quick(run)

    assert f"1 baseline {LISTED}: perf/test_removed.py::test_it" in text(result)


def test_started_elsewhere(
    run: Run,
    recorded: Callable[..., None],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From another folder pytest collects only what is there."""
    pytester.makeini("[pytest]\n")
    recorded(GONE)
    run(QUICK, "--collect-only")
    (pytester.path / "sub").mkdir()
    (pytester.path / "sub" / "test_sub.py").write_text("def test_it(): pass\n")
    monkeypatch.chdir(pytester.path / "sub")

    result = pytester.runpytest_inprocess("-p", "no:benchmark")

    result.assert_outcomes(passed=1)
    assert LISTED not in text(result)


def test_baselines_of_other_machines_are_theirs(run: Run, pytester: pytest.Pytester) -> None:
    """They are not listed, and a damaged file does no harm."""
    here = pytester.path / FOLDER / machine_class().slug
    other = pytester.path / FOLDER / "other-machine"
    for folder in (here, other):
        folder.mkdir(parents=True)
    (here / "damaged.json").write_text("{")
    (other / "damaged.json").write_text("{")

    result = quick(run)

    assert result.ret == 0
    assert LISTED not in text(result)
    assert "Traceback" not in text(result)


def test_the_last_test_that_measured_is_gone(run: Run, recorded: Callable[..., None]) -> None:
    """It is listed below a heading, though nothing was measured."""
    recorded(GONE)

    result = run("def test_it(): pass")

    result.stdout.re_match_lines([r"=+ dlperf =+", rf"1 baseline {LISTED}:"])
