"""The options as pytest reads them: command line, ini keys, markers."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.config.options import (
    Options,
    from_marker,
    from_texts,
    option_string,
    overlay,
    specs,
)
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIDE: Final = "dlperf-side"
"""Name of the plugin by which a process is one side of a duel."""

VARIABLES: Final = pytest.StashKey[dict[str, str]]()
"""The environment as pytest was started with it, before plugins and conftests change it."""

_INI: Final = "dlperf_"
_COLLECTS: Final = re.compile("(testpaths|norecursedirs|python_(files|classes|functions))=")
"""An ini key that decides what is collected."""


def add_options(parser: pytest.Parser) -> None:
    """Register every option that text can give, on the command line and as an ini key."""
    group = parser.getgroup("dlperf", "performance regression tests of models (dlperf)")
    for name, spec in specs().items():
        if spec.kind == "value":
            continue
        flag, dest = option_string(name), ini_key(name)
        text = spec.help.replace("%", "%%")  # argparse formats it
        choices = spec.choices or None
        if spec.kind == "flag":
            group.addoption(flag, dest=dest, action="store_true", default=None, help=text)
            parser.addini(dest, f"{spec.help} (twin of {flag})", type="bool", default=False)
        elif spec.kind == "texts":
            # No list as a default: argparse would append to it.
            group.addoption(
                flag, dest=dest, action="append", default=None, metavar="TEXT", help=text
            )
            parser.addini(dest, f"{spec.help} (twin of {flag})", type="linelist", default=None)
        elif spec.bare:
            # Not by `choices`, whose message would not say what a path after it is taken for.
            group.addoption(
                flag, dest=dest, nargs="?", const=spec.bare, default=None, metavar="WHEN", help=text
            )
            parser.addini(dest, f"{spec.help} (twin of {flag})", type="string", default=None)
        else:
            group.addoption(flag, dest=dest, choices=choices, default=None, help=text)
            parser.addini(dest, f"{spec.help} (twin of {flag})", type="string", default=None)


def marker_line() -> str:
    """The line of the dlperf marker in `pytest --markers`."""
    named = ", ".join(f"{name}=" for name, spec in specs().items() if spec.marker)
    return (
        f"dlperf(*budgets, {named.replace('budgets=, ', '')}): "
        "hold what the dlperf fixture measures to budgets such as 'p99 <= 20ms', "
        "'throughput >= 0.95 * baseline' or 'accuracy >= baseline - 0.5pt'"
    )


def sweep_marker_line() -> str:
    """The line of the dlperf_sweep marker in `pytest --markers`."""
    return (
        "dlperf_sweep(objective, *budgets, knobs=, search=, trials=, finalists=, seed=): "
        "what dlperf.tune(build, data) looks for, such as 'maximize throughput', "
        "'accuracy >= baseline - 0.5pt'; knobs=('units', ...) to try, search='bayesian', "
        "'random' or 'grid', trials=20 configurations, of which finalists=3 are judged against "
        "the setup without tuning"
    )


def command_line(config: pytest.Config) -> Options:
    """The options of the command line."""
    return _read(option_string, {name: config.getoption(ini_key(name)) for name in _textual()})


def ini_file(config: pytest.Config) -> Options:
    """The options of the ini file."""
    return _read(ini_key, {name: _ini_value(config, ini_key(name)) for name in _textual()})


def _ini_value(config: pytest.Config, key: str) -> object:
    try:
        return config.getini(key)
    except (TypeError, ValueError, pytest.UsageError) as error:  # which do not name the key
        raise pytest.UsageError(f"{key}: {error}\n  expected true or false") from None


def ini_key(name: str) -> str:
    """The ini key of an option, by field name."""
    return _INI + name


def run_options(config: pytest.Config) -> Options:
    """The options of the whole run: command line over ini file.

    Raises:
        pytest.UsageError: for a value that is not allowed.
    """
    return overlay((command_line(config), ini_file(config)))


def paths_given(config: pytest.Config) -> tuple[str, ...]:
    """The paths and node ids on the command line."""
    return tuple(map(str, config.option.file_or_dir))


def narrowing(config: pytest.Config) -> str:
    """Why this run collects fewer tests than a plain `pytest` would; empty if it does not.

    Tests that are deselected afterwards count as collected.
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
    """The options of a test, nearest first: command line, markers, ini file.

    Raises:
        UsageError: for a marker that makes no sense.
    """
    markers = [from_marker(mark.args, mark.kwargs) for mark in item.iter_markers("dlperf")]
    return [command_line(item.config), *markers, ini_file(item.config)]


def _textual() -> Iterable[str]:
    return (name for name, spec in specs().items() if spec.kind != "value")


def _read(spelling: Callable[[str], str], texts: dict[str, object]) -> Options:
    try:
        return from_texts(texts, spelling)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
