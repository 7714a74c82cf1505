"""Options that make a pytest run write or distribute, as one side of a duel has them.

A side is an ordinary pytest process, but its reports go to the controller, which writes the files.
Plugins that the table does not name write theirs first in a side and then, as the last, in the
controller; files that the controller has open already are left to it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.pytest_plugin.pytest_benchmark import REPORTING_OPTIONS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Mapping

_OFF: Final[Mapping[str, object]] = {
    # pytest
    "cacheclear": False,
    "pastebin": None,
    "xmlpath": None,
    # pytest-benchmark
    **REPORTING_OPTIONS,
    # pytest-csv, pytest-json-report, pytest-nunit, pytest-reportlog
    "csv_path": None,
    "json_report": False,
    "nunit_xmlpath": None,
    "report_log": None,
    # pytest-html
    "htmlpath": None,
    # pytest-split
    "clean_durations": False,
    "store_durations": False,
    # pytest-xdist
    "dist": "no",
    "distload": False,
    "looponfail": False,
    "numprocesses": None,
    "tx": [],
    # syrupy, whose unused snapshots are those of the tests that were run elsewhere
    "disable_unused_snapshots": True,
    "update_new_snapshots_only": False,
    "update_snapshots": False,
    # allure-pytest
    "clean_alluredir": False,
}
"""What only the controller does: attributes of `config.option`, and the values that stop it."""
_OFF_BESIDE_LEAD: Final[Mapping[str, object]] = {
    "allure_report_dir": None,  # made of what happens inside of tests, not of their reports
    "log_file": os.devnull,
}
"""What only the lead does, the side whose tests are reported."""
_SHARED: Final = ("random_order_seed", "randomly_seed")
"""What the controller draws for all sides, so that they work on the same random data."""


_FILES: Final = (
    *("xmlpath", "csv_path", "json_report_file", "nunit_xmlpath", "report_log", "htmlpath"),
    *("log_file", "allure_report_dir"),
)
"""Options that name what a run writes."""


def written_files(option: argparse.Namespace) -> tuple[str, ...]:
    """The files and folders that options of other plugins name for a run to write."""
    values = (vars(option).get(name) for name in _FILES)
    return tuple(str(value) for value in values if value)


def shared_options(option: argparse.Namespace) -> dict[str, object]:
    """The options that all sides have from the controller."""
    return {name: vars(option)[name] for name in _SHARED if name in vars(option)}


def mute(
    option: argparse.Namespace, shared: Mapping[str, object], held: Collection[str], *, lead: bool
) -> None:
    """Set the options of a side.

    Args:
        option: is changed.
        shared: from `shared_options` of the controller.
        held: files that the controller has open for writing.
        lead: whether the tests of this side are the ones that are reported.
    """
    values = vars(option)
    if lead and values.get("log_file"):
        values["log_file_mode"] = "a"  # the controller has emptied it
    elif not lead:
        _set(values, _OFF_BESIDE_LEAD)
    _set(values, _OFF)
    _set(values, shared)
    for name, value in values.items():
        if (
            name not in _OFF_BESIDE_LEAD
            and isinstance(value, str | Path)
            and os.path.realpath(value) in held
        ):
            values[name] = None


def _set(values: dict[str, object], changes: Mapping[str, object]) -> None:
    values.update({name: value for name, value in changes.items() if name in values})


def held_files(descriptors: Iterable[Path]) -> list[str]:
    """The files with a name that are open for writing, of entries of `/proc/self/fd`."""
    held = set()
    for entry in descriptors:
        try:
            file = entry.resolve(strict=True)
            information = (entry.parent.parent / "fdinfo" / entry.name).read_text()
        except OSError:  # a pipe, a deleted file, or closed meanwhile
            continue
        flags = int(information.partition("flags:")[2].split()[0], 8)
        if flags & os.O_ACCMODE != os.O_RDONLY and file.is_file():
            held.add(str(file))
    return sorted(held)
