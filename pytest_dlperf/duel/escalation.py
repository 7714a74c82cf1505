"""Looks again at a suspected loss since a stored baseline, in a pytest of its own."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.config.options import option_string
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.workspace import without_paths
from pytest_dlperf.errors import DuelError
from pytest_dlperf.results.record import record_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_dlperf.results.record import Record

_FLAGS: Final = frozenset(
    {
        *map(option_string, ("escalate", "quick", "update_in_ci")),
        *("--pdb", "--trace", "--lf", "--last-failed", "--ff", "--failed-first", "--nf"),
        *("--new-first", "--sw", "--stepwise", "--sw-skip", "--stepwise-skip", "--cache-clear"),
        *("--benchmark-autosave", "--benchmark-save-data"),
    }
)
"""Options that are not for the duel and take no value."""

_WITH_VALUE: Final = frozenset(
    {
        *map(option_string, ("update", "json", "against")),
        *("--junitxml", "--junit-xml", "--report-log", "--html", "--pdbcls", "--lfnf"),
        *("--last-failed-no-failures", "-n", "--numprocesses", "--dist"),
        *("--benchmark-json", "--benchmark-save"),
    }
)
"""Options that are not for the duel and take a value, in the same argument or the next."""

_WITHOUT_REPORTERS: Final = (
    *("-p", "no:dlperf-entries", "-p", "no:dlperf-metrics", "-p", "no:dlperf-github"),
)
"""Leaves reporting to other programs to this run."""

_BUDGETS: Final = "DLPERF_ESCALATED_FROM"
"""Variable that tells the duel over one test how many budgets the run has that it settles."""

SECOND_LOOK: Final = "pytest_dlperf.pytest_plugin.second_look"
"""The plugin of a process that only measures: it judges, records and reports nothing."""

_SECONDS: Final = 86_400.0
_VARIABLES: Final = ("PYTEST_CURRENT_TEST", "PYTEST_XDIST_")
_RAN: Final = (0, 1)  # pytest: all passed, some failed


def carried_over(arguments: Sequence[str], paths: Sequence[str]) -> tuple[str, ...]:
    """The arguments of a pytest run that hold for a duel over one of its tests too.

    Left out are paths to collect, options that a duel refuses, and files that this run writes.

    Args:
        arguments: all of the run.
        paths: those of them that name what is to be collected.
    """
    kept: list[str] = []
    rest = iter(without_paths(arguments, paths))
    for argument in rest:
        name, has_value, _ = argument.partition("=")
        if name in _FLAGS or (argument.startswith("-n") and argument[2:].isdecimal()):
            continue
        if name in _WITH_VALUE:
            if not has_value:
                next(rest, None)
            continue
        kept.append(argument)
    return tuple(kept)


def budgets_of_run(variables: Mapping[str, str]) -> int:
    """The relative budgets of the run that has escalated to this duel; 0 if none has."""
    budgets = variables.get(_BUDGETS, "")
    return int(budgets) if budgets.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Escalation:
    """Runs single tests once more; what it started ends with this process.

    Attributes:
        folder: where pytest was started.
        root: pytest's root folder.
        options: see `carried_over`.
        in_path: whether modules are found in the working directory, as with `python -m`.
        variables: the environment of this process.
        budgets: relative budgets of this run, over which all of its duels share one error rate.
    """

    folder: Path
    root: Path
    options: tuple[str, ...]
    in_path: bool
    variables: Mapping[str, str]
    budgets: int

    def duel(self, test: str, commit: str) -> dict[str, Record]:
        """Measure a test in turn with the same test at a commit.

        Returns:
            The record of each measurement of the test, by its name.

        Raises:
            DuelError: if there is none, with the last lines that pytest wrote.
        """
        return self._run(
            test, f"the duel with {commit[:8]}", f"{option_string('against')}={commit}"
        )

    def again(self, test: str) -> dict[str, Record]:
        """Measure a test in a fresh process, without judging or recording it.

        Returns:
            The record of each measurement of the test, by its name.

        Raises:
            DuelError: if there is none, with the last lines that pytest wrote.
        """
        return self._run(test, "the second look in a fresh process", "-p", SECOND_LOOK)

    def _run(self, test: str, what: str, *options: str) -> dict[str, Record]:
        command = [
            # Its input is not that by which it is registered.
            *("/bin/sh", "-c", 'exec "$@" </dev/null', "sh"),
            *(sys.executable, *(() if self.in_path else ("-P",)), "-m", "pytest"),
            *(*self.options, *_WITHOUT_REPORTERS, *options),
        ]
        with CleanupProcess() as cleanup:
            folder = Path(tempfile.mkdtemp(prefix="dlperf-"))
            cleanup.folder(folder)
            report = folder / "report.json"
            command += [f"{option_string('json')}={report}", self._argument(test)]
            code, last = cleanup.run(
                command,
                folder=self.folder,
                environment=self._environment(),
                seconds=_SECONDS,
            )
            records = _records(report, test) if code in _RAN else {}
        if not records:
            lines = "".join(f"\n    {line}" for line in last)
            raise DuelError(f"{what} came to nothing:{lines}")
        return records

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in self.variables.items() if not k.startswith(_VARIABLES)}
        return {**kept, _BUDGETS: str(self.budgets)}

    def _argument(self, test: str) -> str:
        path, colons, name = test.partition("::")
        return f"{os.fspath(self.root / path)}{colons}{name}"


def _records(report: Path, test: str) -> dict[str, Record]:
    try:
        content: Any = json.loads(report.read_bytes())
    except OSError:
        return {}
    records = map(record_from_json, content["measurements"])
    return {
        record.measurement.name: record for record in records if record.measurement.test == test
    }
