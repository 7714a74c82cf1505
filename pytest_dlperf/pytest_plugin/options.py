"""The table of options, as pytest wants it: command line, ini keys, marker."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.config.options import Options, from_marker, from_texts, overlay, specs
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

SIDE: Final = "dlperf-side"
"""Name of the plugin by which a process is one side of a duel."""

_CLI: Final = "--dlperf-"
_INI: Final = "dlperf_"
_COLLECTS: Final = re.compile("(testpaths|norecursedirs|python_(files|classes|functions))=")
"""An ini key that decides what is collected."""


def add_options(parser: pytest.Parser) -> None:
    """Register every option that text can give, on the command line and as an ini key."""
    group = parser.getgroup("dlperf", "performance regression tests of models (dlperf)")
    for name, spec in specs().items():
        if spec.kind == "value":
            continue
        flag, dest = _CLI + name.replace("_", "-"), _INI + name
        text = spec.help.replace("%", "%%")  # argparse fills it in
        choices = spec.choices or None
        if spec.kind == "flag":
            group.addoption(flag, dest=dest, action="store_true", default=None, help=text)
            parser.addini(dest, f"{spec.help} (twin of {flag})", type="bool", default=False)
        elif spec.kind == "texts":
            # No list as a default: argparse would append to it.
            group.addoption(
                flag, dest=dest, action="append", default=None, metavar="TEXT", help=text
            )
            parser.addini(dest, f"{spec.help} (twin of {flag})", type="linelist", default=[])
        else:
            group.addoption(flag, dest=dest, choices=choices, default=None, help=text)
            parser.addini(dest, f"{spec.help} (twin of {flag})", type="string", default="")


def marker_line() -> str:
    """How the marker is documented by `pytest --markers`."""
    named = ", ".join(f"{name}=" for name, spec in specs().items() if spec.marker)
    return (
        f"dlperf(*budgets, {named.replace('budgets=, ', '')}): "
        "hold what the dlperf fixture measures to budgets such as 'p99 <= 20ms', "
        "'throughput >= 0.95 * baseline' or 'accuracy >= baseline - 0.5pt'"
    )


def sweep_marker_line() -> str:
    """How the marker of tests that tune is documented by `pytest --markers`."""
    return (
        "dlperf_sweep(objective, *budgets, knobs=, search=, trials=, finalists=, seed=): "
        "what dlperf.tune(build, data) looks for, such as 'maximize throughput', "
        "'accuracy >= baseline - 0.5pt'; knobs=('units', ...) to try, search='bayesian', "
        "'random' or 'grid', trials=20 configurations, of which finalists=3 are judged against "
        "the setup without tuning"
    )


def command_line(config: pytest.Config) -> Options:
    """What the command line says.

    Raises:
        pytest.UsageError: for a value that is not allowed.
    """
    return _read(_CLI, {name: config.getoption(_INI + name) for name in _textual()})


def ini_file(config: pytest.Config) -> Options:
    """What the ini file says.

    Raises:
        pytest.UsageError: for a value that is not allowed.
    """
    return _read(_INI, {name: config.getini(_INI + name) for name in _textual()})


def run_options(config: pytest.Config) -> Options:
    """What is said about the whole run."""
    return overlay((command_line(config), ini_file(config)))


def paths_given(config: pytest.Config) -> tuple[str, ...]:
    """What the command line names to be collected."""
    return tuple(map(str, config.option.file_or_dir))


def narrowing(config: pytest.Config) -> str:
    """Why not all tests are collected that an ordinary run collects; empty if they are.

    Tests that are deselected afterwards are collected.
    """
    if config.option.file_or_dir:
        return f"only {' '.join(map(str, config.option.file_or_dir))}"
    if config.invocation_params.dir.resolve() != config.rootpath.resolve():
        return "not started in pytest's root folder"
    for option, given in (
        ("--lf", config.getoption("lf", default=False)),
        ("--ignore", config.option.ignore),
        ("--ignore-glob", config.option.ignore_glob),
        ("--override-ini", any(map(_COLLECTS.match, config.option.override_ini or ()))),
    ):
        if given:
            return option
    return ""


def arguments_given(config: pytest.Config) -> tuple[str, ...]:
    """All arguments that pytest was started with."""
    return tuple(map(str, config.invocation_params.args))


def finds_modules_here() -> bool:
    """Whether the working directory is where modules are found, as in `python -m pytest`."""
    return "-m" in sys.orig_argv[1:2] or "" in sys.path


def layers(item: pytest.Item) -> list[Options]:
    """All that is said about a test, nearest first: command line, markers, ini file.

    Raises:
        UsageError: for a marker that makes no sense.
    """
    markers = [from_marker(mark.args, mark.kwargs) for mark in item.iter_markers("dlperf")]
    return [command_line(item.config), *markers, ini_file(item.config)]


def _textual() -> Iterable[str]:
    return (name for name, spec in specs().items() if spec.kind != "value")


def _read(prefix: str, texts: dict[str, object]) -> Options:
    try:
        return from_texts(texts, prefix)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
