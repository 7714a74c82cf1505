"""`pytest-dlperf tune`: run the tests with a `dlperf_sweep` marker, in a new pytest process."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pytest_dlperf._command import Command, CommandResult
from pytest_dlperf._files import why_unwritable
from pytest_dlperf.config.options import TUNES
from pytest_dlperf.errors import UsageError
from pytest_dlperf.tuning.plan import Overrides, check_whole
from pytest_dlperf.tuning.search import SearchName

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

ASKED: Final = "DLPERF_TUNE"
"""Environment variable that carries the options to the plugin."""

_PLUGIN: Final = "pytest_dlperf.pytest_plugin.tuning"
_EXIT_STATUS: Final = (
    "Exit status: 0 if each study was completed, whether or not something better was found; 1 if "
    "a test failed, such as by a constraint that even the setup without tuning breaks; 2 for "
    "usage errors, and if no test has the marker; 130 after Ctrl-C. Trials are kept in pytest's "
    "cache: the same command continues from there."
)


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """Options of `pytest-dlperf tune`.

    Attributes:
        overrides: of all studies.
        json: file for the results; empty writes none.
    """

    overrides: Overrides
    json: str = ""

    def to_text(self) -> str:
        """As an environment variable."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> TuneOptions:
        """The inverse of `to_text`."""
        value: dict[str, Any] = json.loads(text)
        given = {**value["overrides"], "knobs": tuple(value["overrides"]["knobs"])}
        return cls(Overrides(**given), value["json"])


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXIT_STATUS
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


def _options(given: argparse.Namespace) -> TuneOptions:
    """Check the arguments as far as possible without the project."""
    for name, least in (("trials", 2), ("seed", 0)):
        value = getattr(given, name)
        if value is not None:
            check_whole(value, f"--{name} ", least)
    path: Path | None = given.json
    if path is not None and (reason := why_unwritable(path)):
        raise UsageError(f"--json {path} {reason}")
    overrides = Overrides(
        search=given.search,
        trials=given.trials,
        seed=given.seed,
        knobs=tuple(given.knob),
        fresh=given.fresh,
    )
    return TuneOptions(overrides, str(path) if path else "")


def _lines(given: argparse.Namespace) -> Iterable[str]:
    become_pytest(given.tests, _options(given))


def _run(given: argparse.Namespace) -> CommandResult:
    return CommandResult(_lines(given))


TUNE: Final = Command(
    "tune",
    "try configurations of the tests that carry dlperf_sweep, and recommend the best",
    _arguments,
    _run,
)


def command(tests: Sequence[str]) -> list[str]:
    """The command line by which pytest runs the tests that tune, among paths and node ids."""
    return [sys.executable, "-m", "pytest", "-m", TUNES, "-p", _PLUGIN, *tests]


def become_pytest(
    tests: Sequence[str], options: TuneOptions, variables: Mapping[str, str] = os.environ
) -> NoReturn:
    """Replace this process by pytest, which keeps its terminal, signals and exit status."""
    sys.stdout.flush()
    arguments = command(tests)
    os.execve(arguments[0], arguments, {**variables, ASKED: options.to_text()})  # noqa: S606 - our own interpreter
