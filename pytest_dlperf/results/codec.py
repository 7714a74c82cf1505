"""Plain values of files and reports: dataclasses, estimates and metrics, and back.

Values of another shape raise KeyError, TypeError, ValueError, OverflowError or AttributeError here
and in every `from_json` of this package; readers of files turn them into a message.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pytest_dlperf.metrics import find_metric, metric_named
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from _typeshed import DataclassInstance

_Plain = TypeVar("_Plain", bound="DataclassInstance")

_DIGITS: Final = 6  # significant digits that a file keeps
_SHOWN: Final = 40  # characters of a wrong value


class MisplacedValueError(ValueError):
    """A value of a file that is not what is expected in its place.

    Attributes:
        problem: what was expected, and what is there.
        place: keys and indices, from the outside.
    """

    def __init__(self, problem: str, place: tuple[str | int, ...] = ()) -> None:
        self.problem = problem
        self.place = place
        path = "".join(map(_step, place)).removeprefix(".")
        super().__init__(f"{path}: {problem}" if path else problem)


def _step(key: str | int) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{json.dumps(key)}]"


@contextlib.contextmanager
def at(key: str | int) -> Iterator[None]:
    """Name the place of a value: what is raised inside becomes a MisplacedValueError there."""
    try:
        yield
    except MisplacedValueError as error:
        raise MisplacedValueError(error.problem, (key, *error.place)) from None
    except KeyError as error:
        raise MisplacedValueError(f"there is no {error}", (key,)) from None
    except (OverflowError, ValueError) as error:
        raise MisplacedValueError(str(error), (key,)) from None
    except (AttributeError, TypeError):
        # Their messages are about Python's types, not about the file.
        raise MisplacedValueError("a value in it is of the wrong kind", (key,)) from None


def as_object(value: Any) -> dict[str, Any]:  # noqa: ANN401 - of a file
    """A JSON object; a MisplacedValueError if it is none."""
    if isinstance(value, dict):
        return value
    raise _other("an object", value)


def as_list(value: Any) -> list[Any]:  # noqa: ANN401 - of a file
    """A JSON list; a MisplacedValueError if it is none."""
    if isinstance(value, list):
        return value
    raise _other("a list", value)


def as_text(value: Any) -> str:  # noqa: ANN401 - of a file
    """A JSON string; a MisplacedValueError if it is none."""
    if isinstance(value, str):
        return value
    raise _other("a text", value)


def as_number(value: Any) -> float:  # noqa: ANN401 - of a file
    """A finite number; a MisplacedValueError if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise _other("a number", value)


def number_or_none(value: Any) -> float | None:  # noqa: ANN401 - of a file
    """A finite number, or None as it is; a MisplacedValueError if it is neither."""
    return None if value is None else as_number(value)


def _other(expected: str, value: object) -> MisplacedValueError:
    shown = json.dumps(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return MisplacedValueError(f"expected {expected}, not {shown}")


_CONVERTED: Final[Mapping[str, Callable[[Any], object]]] = MappingProxyType(
    {"str": as_text, "int": int, "float": float, "float | None": number_or_none}
)
_OF_TUPLES: Final[Mapping[str, Callable[[Any], object]]] = MappingProxyType(
    {"tuple[float, ...]": as_number, "tuple[float | None, ...]": number_or_none}
)


def fields_to_json(value: DataclassInstance) -> dict[str, object]:
    """The fields of a dataclass of numbers, texts and tuples; tuples are lists."""
    plain = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: list(it) if isinstance(it, tuple) else it for name, it in plain.items()}


def fields_from_json(kind: type[_Plain], value: Mapping[str, Any]) -> _Plain:
    """The inverse of `fields_to_json`."""
    return kind(**{field.name: _read(field.type, value[field.name]) for field in fields(kind)})


def _read(annotation: Any, value: Any) -> Any:  # noqa: ANN401 - of any field
    if annotation in _CONVERTED:
        return _CONVERTED[annotation](value)
    if annotation in _OF_TUPLES:
        return tuple(map(_OF_TUPLES[annotation], as_list(value)))
    return tuple(value) if isinstance(value, list) else value


def rounded(value: float) -> float:
    """A number with six significant digits, as in files."""
    return float(f"{value:.{_DIGITS}g}")


def ends_of(estimate: Estimate) -> float | list[float]:
    """Value, low and high, rounded; a single number if it was counted."""
    if estimate.low == estimate.high:
        return rounded(estimate.value)
    return [rounded(end) for end in (estimate.value, estimate.low, estimate.high)]


def estimate_of(metric: Any) -> Estimate:  # noqa: ANN401 - of a file
    """The inverse of `ends_of`."""
    match metric:
        case int() | float():
            return counted(_not_negative(metric))
        case [value, low, high]:
            return Estimate(_not_negative(value), as_number(low), as_number(high))
    raise ValueError(f"{metric!r:.80} is no figure: expected one, or value, low and high")


def _not_negative(value: Any) -> float:  # noqa: ANN401 - of a file
    number = as_number(value)
    if number < 0:
        raise _other("a number of at least 0", value)
    return number


def pace_to_json(pace: Pace) -> dict[str, float]:
    """The yardstick's two parts, rounded."""
    return {"compute": rounded(pace.compute), "memory": rounded(pace.memory)}


def pace_from_json(value: Any) -> Pace | None:  # noqa: ANN401 - of a file
    """The yardstick of a session, None if it was not measured.

    A plain number is of an earlier yardstick, which had one part and another unit: it is left out.

    Raises:
        ValueError: if a part is no time.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        as_number(value)
        return None
    parts = [value.get(part) for part in ("compute", "memory")]
    if None in parts:
        raise _other("seconds of the parts compute and memory", value)
    return Pace(*map(as_number, parts))


def check_metrics(names: Mapping[str, object]) -> None:
    """Refuse metrics that this version does not know.

    Raises:
        ValueError: that names the first of them.
    """
    unknown = {name for name in names if find_metric(name) is None}
    if unknown:
        raise ValueError(f"there is no metric {min(unknown)!r}")


def metrics_to_json(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, object]]:
    """Each metric with its interval, unit and direction, rounded to six significant digits."""
    return {
        name: {
            "value": rounded(estimate.value),
            "low": rounded(estimate.low),
            "high": rounded(estimate.high) if estimate.bounded else None,
            "unit": metric_named(name).unit,
            "better": metric_named(name).better,
        }
        for name, estimate in metrics.items()
    }


def metrics_from_json(value: dict[str, dict[str, Any]]) -> Mapping[str, Estimate]:
    """The inverse of `metrics_to_json`."""
    check_metrics(value)
    metrics = {}
    for name, metric in value.items():
        with at(name):
            metrics[name] = estimate_from_json(metric)
    return MappingProxyType(metrics)


def estimate_from_json(value: dict[str, Any]) -> Estimate:
    """An estimate from its `value`, `low` and `high`, which is None without an upper bound."""
    with at("value"):
        middle = as_number(value["value"])
    with at("low"):
        low = as_number(value["low"])
    with at("high"):
        high = math.inf if value["high"] is None else as_number(value["high"])
    return Estimate(middle, low, high)
