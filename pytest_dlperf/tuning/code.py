"""Code to paste: a setup as Python, and a marker with budgets that the setup meets."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import LOAD_METRICS, Metric, measured_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.tuning.configuration import Setup
    from pytest_dlperf.tuning.result import Tuned

PACKAGE: Final = "pytest_dlperf"

_WIDTH: Final = 79
_STEP: Final = 4
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_UNKNOWN: Final = "..."
_CLASS_NAME: Final = re.compile(r"[A-Z]\w*")
_LEAST_MARGIN: Final = 0.1  # of a budget to what was reached
_GIB: Final = 2.0**30
_MIB: Final = 2.0**20
_HUNDRED: Final = 100.0


def setup_code(setup: Setup) -> str:
    """A setup as Python: imports, then `setup = Setup(...)`.

    Defaults are left out. Three dots replace a value that has no Python expression, such as a
    nested function; a comment above names it.
    """
    statement = assigned("setup", setup)
    lost = [f"# {_UNKNOWN} stands for {text:.60}" for text in _unwritable(setup)]
    return "\n".join((*imports_of(setup), "", *lost, statement))


def assigned(name: str, value: object) -> str:
    """`name = value`, in lines that fit."""
    return f"{name} = {_code(value, len(name) + 3, 0)}"


def call_code(value: object) -> str:
    """A value in one line."""
    parts = _parts(value)
    if parts is None:
        return _plain(value)
    opened, items, closed = parts
    inside = ", ".join(f"{label}{call_code(item)}" for label, item in items)
    comma = "," if opened == "(" and len(items) == 1 else ""
    return f"{opened}{inside}{comma}{closed}"


def imports_of(*values: object) -> list[str]:
    """The imports that the code of these values needs, a statement for each module."""
    names: dict[str, set[str]] = {}
    for value in _all_in(values):
        if home := _home(value):
            module, name = home
            names.setdefault(module, set()).add(name)
    return [_import(module, sorted(names[module])) for module in sorted(names)]


def _import(module: str, names: Sequence[str]) -> str:
    flat = f"from {module} import {', '.join(names)}"
    if len(flat) <= _WIDTH:
        return flat
    return "\n".join((f"from {module} import (", *(f"    {name}," for name in names), ")"))


def _code(value: object, column: int, indent: int) -> str:
    """A value that begins in a column; in several lines if it is too long for one."""
    flat, parts = call_code(value), _parts(value)
    if column + len(flat) < _WIDTH or parts is None or not parts[1]:
        return flat
    opened, items, closed = parts
    inner = indent + _STEP
    lines = [
        f"{' ' * inner}{label}{_code(item, inner + len(label), inner)}," for label, item in items
    ]
    return "\n".join((opened, *lines, f"{' ' * indent}{closed}"))


def _parts(value: object) -> tuple[str, Sequence[tuple[str, object]], str] | None:
    """Opening, labelled items and closing of a value that contains others; None for others."""
    if _is_call(value):
        return f"{type(value).__name__}(", _fields(value), ")"
    if isinstance(value, Mapping):
        return "{", [(f"{_plain(key)}: ", item) for key, item in value.items()], "}"
    if type(value) is tuple:
        return "(", [("", item) for item in value], ")"
    if type(value) is list:
        return "[", [("", item) for item in value], "]"
    return None


def _is_call(value: object) -> bool:
    """Whether it is a dataclass written by its fields; some have a repr of their own."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return False
    return bool(getattr(value, "__dataclass_params__").repr)  # noqa: B009 - not in its type


def _fields(value: object) -> list[tuple[str, object]]:
    """The fields that differ from their defaults."""
    fields = []
    for field in dataclasses.fields(value):  # type: ignore[arg-type]  # checked by _is_call
        content = getattr(value, field.name)
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if content != default:
            fields.append((f"{field.name}=", content))
    return fields


def _plain(value: object) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()  # numpy's scalars would need numpy
    if isinstance(value, Callable | type) and not dataclasses.is_dataclass(value):  # type: ignore[arg-type]
        text = str(getattr(value, "__qualname__", _UNKNOWN))
    else:
        text = _quoted(value) if isinstance(value, str) else repr(value)
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):
        return _UNKNOWN
    return text


def _quoted(text: str) -> str:
    return repr(text) if {'"', "\\"} & set(text) or not text.isprintable() else f'"{text}"'


def _home(value: object) -> tuple[str, str] | None:
    """The module and name to import for a value; None if it needs no import."""
    if not (dataclasses.is_dataclass(value) or callable(value)):
        return None
    match = _NAME.match(call_code(value))
    if match is None:
        return None
    kind = value if hasattr(value, "__qualname__") else type(value)
    module = str(kind.__module__)
    return (PACKAGE if module.partition(".")[0] == PACKAGE else module), match[0]


def _all_in(values: Sequence[object]) -> Iterator[object]:
    """The values, and those that they contain."""
    for value in values:
        yield value
        parts = _parts(value)
        if parts is not None:
            yield from _all_in([item for _, item in parts[1]])


def _unwritable(value: object) -> Iterator[str]:
    for item in _all_in([value]):
        if _parts(item) is None and _plain(item) == _UNKNOWN:
            yield " ".join(repr(item).split())


def marker_code(tuned: Tuned) -> str:
    """The dlperf marker of a test that holds the recommended setup to what it reached.

    Its budgets are those of the goal. The objective becomes the measured value, with a margin of a
    tenth or the metric's default detectable loss, if that is more. Training's metrics are left out.
    """
    wanted = [_reached(tuned), *(budget.text for budget in tuned.goal.constraints)]
    metrics = [tuned.goal.objective, *(budget.metric for budget in tuned.goal.constraints)]
    arguments = [
        f'"{text}"'
        for text, metric in zip(wanted, metrics, strict=True)
        if text and measured_by(LOAD_METRICS, metric)
    ]
    comments = []
    if tuned.scenario.startswith("Trace("):
        comments.append("# scenario= is the trace of the test that was tuned")
    else:
        arguments.append(f"scenario={tuned.scenario}")
    if any(metric.name == "goodput" for metric in metrics):
        comments.append("# slo= is that of the test that was tuned")
    serving = call_code(tuned.setup.serving)
    if serving != "Serving()":
        arguments.append(f"serving={serving}")
    code = [argument for argument in arguments if not argument.startswith('"')]
    for text in tuned.answers:
        (comments if text.startswith("#") else arguments).append(text)
    names = sorted({name for argument in code for name in _CLASS_NAME.findall(argument)})
    imports = ["import pytest", "", *([f"from {PACKAGE} import {', '.join(names)}"] * bool(names))]
    body = [f"    {line}" for line in (*comments, *(f"{argument}," for argument in arguments))]
    return "\n".join((*imports, "", "@pytest.mark.dlperf(", *body, ")"))


def answers_code(plan: Plan) -> tuple[str, ...]:
    """The marker's arguments on answers and labels that differ from their defaults."""
    given = [f"output={_quoted(plan.output)}"] if isinstance(plan.output, str) else []
    if callable(plan.output):
        given = ["# output= is that of the test that was tuned"]
    if plan.task is not None:
        given.append(f"task={_quoted(plan.task)}")
    if plan.allow_nan:
        given.append("allow_nan=True")
    return tuple(given)


def _reached(tuned: Tuned) -> str:
    """A budget on the objective that the recommended setup met; empty if it was not measured."""
    metric = tuned.goal.objective
    winner = tuned.winner
    known = tuned.trial_of(tuned.recommended).metrics
    reached = (winner.metrics if winner else {}).get(metric.name) or known.get(metric.name)
    if reached is None:
        return ""
    sign = 1 if metric.better == "lower" else -1
    if metric.unit == "share":
        limit = min(1.0, max(0.0, reached.value + sign * metric.detect))
    else:
        limit = reached.value * (1 + max(_LEAST_MARGIN, metric.detect)) ** sign
    return f"{metric.name} {'<=' if sign > 0 else '>='} {_quantity(limit, metric)}"


def _quantity(value: float, metric: Metric) -> str:
    match metric.unit:
        case "s":
            return f"{_short(value)}s" if value >= 1 else f"{_short(value * 1e3)}ms"
        case "1/s":
            return f"{_short(value)}/s"
        case "share":
            return f"{_short(value * 100)}%"
        case "bytes":
            large = value >= _GIB
            return f"{_short(value / (_GIB if large else _MIB))}{'GiB' if large else 'MiB'}"
        case "1":
            return _short(value)


def _short(value: float) -> str:
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if rounded >= _HUNDRED else f"{rounded:g}"
