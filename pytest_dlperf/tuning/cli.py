"""`pytest-dlperf tune`: try configurations of the tests that say what better is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from pytest_dlperf._command import Command, Outcome
from pytest_dlperf.errors import UsageError
from pytest_dlperf.tuning.plan import Overrides, check_whole
from pytest_dlperf.tuning.search import SearchName
from pytest_dlperf.tuning.tuning_run import Request, become_pytest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

_STATUS: Final = (
    "Exit status: 0 if each study came to its end, whether or not something better was found; 1 "
    "if a test failed, such as by a constraint that even the setup without tuning breaks; 2 for "
    "what cannot be used, and if no test has the marker; 130 after Ctrl-C. What was tried is kept "
    "in pytest's cache: the same command goes on from there."
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _STATUS
    parser.add_argument(
        "tests",
        nargs="*",
        metavar="TEST",
        help="files, folders and node ids to look in for tests with the marker dlperf_sweep; "
        "default: where pytest looks",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="configurations to try")
    parser.add_argument("--search", choices=get_args(SearchName), help="how they are chosen")
    parser.add_argument(
        "--knob",
        action="append",
        default=[],
        metavar="NAME[=VALUE,VALUE]",
        help="a knob to try, such as units=512,64: in the place of the test's of that name, or "
        "beside them; may be repeated",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the search and of training")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there too")
    parser.add_argument(
        "--fresh", action="store_true", help="try anew what earlier runs have tried"
    )


def _request(given: argparse.Namespace) -> Request:
    """What was asked for, checked as far as it can be without the project.

    Raises:
        UsageError: for what makes no sense.
    """
    for name, least in (("trials", 2), ("seed", 0)):
        value = getattr(given, name)
        if value is not None:
            check_whole(value, f"--{name} ", least)
    path: Path | None = given.json
    if path is not None and path.is_dir():
        raise UsageError(f"--json {path} is a folder", "name a file")
    overrides = Overrides(
        search=given.search,
        trials=given.trials,
        seed=given.seed,
        knobs=tuple(given.knob),
        fresh=given.fresh,
    )
    return Request(overrides, str(path) if path else "")


def _lines(given: argparse.Namespace) -> Iterable[str]:
    become_pytest(given.tests, _request(given))


def _run(given: argparse.Namespace) -> Outcome:
    return Outcome(_lines(given))


TUNE: Final = Command(
    "tune",
    "try configurations of the tests that carry dlperf_sweep, and recommend the best",
    _arguments,
    _run,
)
