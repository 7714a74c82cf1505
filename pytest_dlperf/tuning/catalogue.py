"""Catalogue: knobs by name, and whether they suit a function that builds models."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError
from pytest_dlperf.tuning import knobs as built_in
from pytest_dlperf.tuning.configuration import Knob, anchored, configured, setup_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_dlperf.tuning.configuration import Setup

BUILT_IN: Final[Mapping[str, Callable[..., Knob]]] = MappingProxyType(
    {
        name: getattr(built_in, name)
        for name in (
            *("cleaning", "normalisation", "normalisation_in_graph", "augmentation"),
            *("units", "layers", "activation", "distillation", "pruning", "quantisation"),
            *("optimizer", "learning_rate", "batch_size", "epochs", "precision"),
            *("steps_per_execution", "max_batch_size", "batch_timeout", "replicas"),
            *("intra_op_threads", "runtime"),
        )
    }
)
"""Makers of the built-in knobs by name, in the order of the guide."""

_COMMA: Final = re.compile(r",(?![^(]*\))")  # none within brackets

USUAL: Final = ("units", "layers", "max_batch_size", "batch_timeout", "runtime")
"""Knobs that are tried by default: cheap, possible with any model, and most decisive for speed."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The keyword parameters of a function that builds models.

    Attributes:
        name: of the function.
        defaults: of the parameters that have one.
        required: parameters without default.
        any_name: whether it takes any keyword (`**keywords`).
    """

    name: str
    defaults: Mapping[str, object]
    required: tuple[str, ...] = ()
    any_name: bool = False

    def takes(self, argument: str) -> bool:
        """Whether there is a parameter of this name."""
        return self.any_name or argument in self.defaults or argument in self.required


def parameters_of(build: Callable[..., object]) -> Parameters:
    """The keyword parameters of a function.

    Raises:
        UsageError: if it is no function, or needs an argument by position.
    """
    __tracebackhide__ = True
    if not callable(build):
        raise UsageError(f"build={build!r:.80}", "expected a function that builds a model")
    name = getattr(build, "__name__", type(build).__name__)
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):  # some callables of C have no signature
        return Parameters(name, {}, any_name=True)
    named = [p for p in parameters if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}]
    for p in parameters:
        if p.kind is p.POSITIONAL_ONLY and p.default is p.empty:
            raise UsageError(
                f"{name}({p.name}, /) needs an argument by position",
                "a function that builds a model is called with keywords",
            )
    return Parameters(
        name=name,
        defaults={p.name: p.default for p in named if p.default is not p.empty},
        required=tuple(p.name for p in named if p.default is p.empty),
        any_name=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def catalogue(users: Iterable[Knob] = ()) -> dict[str, Knob]:
    """The built-in knobs and a user's own by name; these replace built-in ones of the same name.

    Raises:
        UsageError: if two of the user's have the same name, or one is no knob.
    """
    __tracebackhide__ = True
    known = {name: maker() for name, maker in BUILT_IN.items()}
    own: set[str] = set()
    for knob in users:
        if not isinstance(knob, Knob):
            raise UsageError(f"{knob!r:.80} is no knob", "expected Knob(...) or knobs.units(...)")
        if knob.name in own:
            raise UsageError(f"two knobs are named {knob.name}", "give one of them another name")
        own.add(knob.name)
        known[knob.name] = knob
    return known


def chosen(requests: Iterable[object], known: Mapping[str, Knob]) -> tuple[Knob, ...]:
    """The requested knobs: names, texts such as `units=512,64`, or knobs themselves.

    Raises:
        UsageError: for an unknown name, what is no knob, two of one name, or none at all.
    """
    __tracebackhide__ = True
    if isinstance(requests, str | Knob):
        requests = (requests,)
    knobs: dict[str, Knob] = {}
    for request in requests:
        knob = _requested(request, known)
        if knob.name in knobs:
            raise UsageError(f"knob {knob.name} is requested twice", "give all its values at once")
        knobs[knob.name] = knob
    if not knobs:
        raise UsageError("there are no knobs", f"knobs: {' '.join(known)}")
    return tuple(knobs.values())


def _requested(request: object, known: Mapping[str, Knob]) -> Knob:
    __tracebackhide__ = True
    if isinstance(request, Knob):
        return request
    if not isinstance(request, str):
        raise UsageError(f"knob {request!r:.80}", "expected a name, or knobs.units(512, 64)")
    name, equals, texts = (part.strip() for part in request.partition("="))
    if name not in known:
        raise UsageError(f"unknown knob {name!r:.80}", f"knobs: {' '.join(known)}")
    return _with_values(known[name], _COMMA.split(texts)) if equals else known[name]


def _with_values(knob: Knob, texts: Iterable[str]) -> Knob:
    """The knob with values given as text: its own by their texts, or any new plain value."""
    __tracebackhide__ = True
    own = {str(value): value for value in knob.values}
    plain = all(value is None or isinstance(value, str | int | float) for value in knob.values)
    values = []
    for text in map(str.strip, texts):
        if text not in own and not (plain and text):
            raise UsageError(
                f"knob {knob.name} has no value {text!r:.80}", f"it has {', '.join(own)}"
            )
        values.append(own[text] if text in own else _read(text))
    return dataclasses.replace(knob, values=tuple(values))


def _read(text: str) -> object:
    """A number or a name of Python's as such, anything else as text."""
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value


def problem_of(knob: Knob, parameters: Parameters, base: Setup) -> str:
    """Which argument the knob sets that the function does not take, in words; empty if none."""
    for value in knob.values[1:]:
        try:
            changed = setup_of(base, configured((knob,), {knob.name: value}), (knob,))
        except UsageError:
            continue  # it may go with the values of other knobs
        unknown = [name for name in changed.arguments if not parameters.takes(name)]
        if unknown:
            takes = ", ".join((*parameters.required, *parameters.defaults)) or "no arguments"
            return f"{parameters.name}() takes no {unknown[0]}; it takes {takes}"
    return ""


def suitable(
    requested: Iterable[Knob] | None,
    known: Mapping[str, Knob],
    parameters: Parameters,
    base: Setup,
) -> tuple[Knob, ...]:
    """The requested knobs, or else the usual ones that suit; each has the value of `base` first.

    Raises:
        UsageError: if a requested knob does not suit, or has only one value.
    """
    __tracebackhide__ = True
    if requested is None:
        usual = (known[name] for name in USUAL)
        requested = [knob for knob in usual if not problem_of(knob, parameters, base)]
    for knob in (knobs := tuple(requested)):
        problem = problem_of(knob, parameters, base)
        if problem:
            raise UsageError(f"knob {knob.name}: {problem}", "leave it out, or add the parameter")
    anchors = anchored(knobs, base, parameters.defaults)
    for knob in anchors:
        if len(knob.values) == 1:
            raise UsageError(
                f"knob {knob.name}: {knob.default} is its value without tuning",
                "give it another value to try",
            )
    return anchors
