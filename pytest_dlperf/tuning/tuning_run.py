"""Tuning run: pytest in the place of this process, on the tests that tune."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.baselines.collect_tests import QUIET
from pytest_dlperf.config.markers import TUNES
from pytest_dlperf.tuning.plan import Overrides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

ASKED: Final = "DLPERF_TUNE"
"""Environment variable that tells the plugin of ours what was asked for."""

_PLUGIN: Final = "pytest_dlperf.pytest_plugin.tune_run"


@dataclass(frozen=True, slots=True)
class Request:
    """What `pytest-dlperf tune` was asked for.

    Attributes:
        overrides: what holds for all studies.
        json: the file that results are written to; empty writes none.
    """

    overrides: Overrides
    json: str = ""

    def to_text(self) -> str:
        """As an environment variable."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Request:
        """The inverse of `to_text`."""
        value: dict[str, Any] = json.loads(text)
        given = {**value["overrides"], "knobs": tuple(value["overrides"]["knobs"])}
        return cls(Overrides(**given), value["json"])


def command(tests: Sequence[str]) -> list[str]:
    """The arguments by which pytest runs the tests that tune.

    Args:
        tests: paths and node ids to look in; none looks where pytest does.
    """
    return [sys.executable, "-m", "pytest", "-m", TUNES, "-p", _PLUGIN, "-W", QUIET, *tests]


def become_pytest(
    tests: Sequence[str], request: Request, variables: Mapping[str, str] = os.environ
) -> NoReturn:
    """Go on as pytest: it gets this process' terminal, signals and exit status.

    Args:
        tests: paths and node ids to look in.
        request: what was asked for.
        variables: environment variables.
    """
    sys.stdout.flush()
    given = command(tests)
    os.execve(given[0], given, {**variables, ASKED: request.to_text()})  # noqa: S606 - our own interpreter
