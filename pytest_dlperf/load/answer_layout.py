"""The layout of a target's answers: which arrays they consist of, and which of them is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

import numpy as np

from pytest_dlperf.errors import UsageError, kind_of
from pytest_dlperf.trees import mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray


Output: TypeAlias = str | Callable[[Any], Any]
"""Path of the output that is scored, or a function that computes it from all of them."""

Leaf: TypeAlias = "NDArray[Any] | list[Any]"
"""One output of a batch: an array `(rows, ...)`, or a list of rows of different shapes."""

_NUMBERS: Final = "biuf"
_PLAIN: Final = frozenset("?bBhHiIlLqQefd")
"""Type codes of numpy's numbers."""
_TEXT: Final = "OUST"


class MisfitError(ValueError):
    """An answer that is not laid out as those before; its text says where and how."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The answer to a batch of `rows` rows, as `read_outputs` returns it."""

    outputs: object
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class AnswerLayout:
    """How answers are taken apart.

    Attributes:
        tree: of the numbers of the outputs, as they stand in an answer; 0 for a single array.
        paths: of the outputs; that of a single array is empty.
        scored: number of the output that is compared with labels and between rows; None if none
            has numbers, of one shape for each row.
        shape: of one row of that output, or of what `compute` makes of the answer.
        compute: computes what is scored from an answer; None if it is one of the outputs.
        is_chosen: whether the user said which output is scored, or there is one only.
    """

    tree: Any
    paths: tuple[str, ...]
    scored: int | None
    shape: tuple[int, ...]
    compute: Callable[[Any], Any] | None = None
    is_chosen: bool = True

    @property
    def has_score(self) -> bool:
        """Whether there are numbers of one shape, which can be compared with labels."""
        return self.compute is not None or self.scored is not None

    def parts(self, outputs: object, rows: int) -> tuple[Leaf, ...]:
        """The outputs of an answer to a batch of so many rows.

        Raises:
            MisfitError: if it is laid out differently, or has other rows or another shape.
        """
        if self.tree == 0:
            if _is_plain(outputs) and outputs.shape == (rows, *self.shape):
                return (outputs,)  # almost always
            parts: tuple[Leaf, ...] = (_leaf(outputs, rows, ""),)
        else:
            collected: list[Leaf] = []
            _take_apart(outputs, self.tree, rows, "", collected)
            parts = tuple(collected)
        if self.scored is not None:
            self._check_scored(parts[self.scored], rows)
        return parts

    def whole(self, parts: Sequence[Leaf]) -> Any:  # noqa: ANN401 - a tree
        """The answer as the target lays it out; a single array as it is."""
        if len(parts) == 1:
            return parts[0]
        return mapped(lambda number: parts[int(number)], self.tree)

    def to_score(self, parts: Sequence[Leaf]) -> NDArray[Any]:
        """What is scored of an answer, shape `(rows, *shape)`; of no columns if nothing is.

        Raises:
            MisfitError: if the user's function fails, or does not return one row a request.
        """
        if self.compute is not None:
            return self._computed(parts)
        if self.scored is None:
            return np.zeros((len(parts[0]), 0), np.float32)
        return np.asarray(parts[self.scored])

    def of_rows(self, parts: Sequence[Leaf], scored: NDArray[Any], rows: NDArray[np.intp]) -> Any:  # noqa: ANN401 - a tree
        """The answers to some rows, as users' metrics take them: what is scored if it was chosen.

        Answers that cannot be scored are given as they are.

        Args:
            parts: the outputs.
            scored: as `to_score` returned it.
            rows: their numbers.
        """
        if self.is_chosen and self.has_score:
            return scored[rows]
        chosen: list[Leaf] = [
            [part[row] for row in rows] if isinstance(part, list) else part[rows] for part in parts
        ]
        return self.whole(chosen)

    def read(self, outputs: object, rows: int) -> NDArray[Any]:
        """What is scored of the answer to a batch; raises as `parts` and `to_score`."""
        return self.to_score(self.parts(outputs, rows))

    def _check_scored(self, array: Leaf, rows: int) -> None:
        path = self.paths[self.scored or 0]
        if isinstance(array, list) or array.shape != (rows, *self.shape):
            raise MisfitError(_misfit(array, rows, path))

    def _computed(self, parts: Sequence[Leaf]) -> NDArray[Any]:
        rows = len(parts[0])
        computed = computed_output(self.compute, self.whole(parts))
        if computed.shape[:1] != (rows,) or (self.shape and computed.shape[1:] != self.shape):
            raise MisfitError(f"output= returned {_words(computed)} for a batch of {rows}")
        return computed


def computed_output(compute: Callable[[Any], Any] | None, outputs: object) -> NDArray[Any]:
    """What the user's function makes of an answer, as numbers; a MisfitError if it has none."""
    assert compute is not None  # noqa: S101 - asked only then
    try:
        computed = np.asarray(compute(outputs))
    except Exception as error:  # the user's own code
        raise MisfitError(f"output= raised {kind_of(error)}: {error}") from error
    if not _is_numeric(computed):
        raise MisfitError(f"output= returned {_words(computed)}: expected an array of numbers")
    return _plain(computed)


def layout_of(samples: Sequence[Sample], output: Output | None = None) -> AnswerLayout:
    """The layout of answers to batches of different sizes, the largest last.

    Raises:
        MisfitError: if they have no rows, or different layouts.
        UsageError: if `output` names none of the outputs, or one without numbers.
    """
    tree, paths = _template(samples, "", [])
    collected: list[list[Leaf]] = [[] for _ in samples]
    for sample, parts in zip(samples, collected, strict=True):
        _take_apart(sample.outputs, tree, sample.rows, "", parts)
    steady = [
        number
        for number in range(len(paths))
        if len({_row_shape(parts[number]) for parts in collected}) == 1
        and _row_shape(collected[-1][number]) is not None
    ]
    last = collected[-1]
    if callable(output):
        try:
            shape = AnswerLayout(tree, paths, None, (), output).to_score(last).shape[1:]
        except MisfitError as error:
            offered = ", ".join(repr(path) for path in paths if path) or "one array"
            raise UsageError(
                str(error), f"it is given what the target answers, as numpy arrays: {offered}"
            ) from error.__cause__
        return AnswerLayout(tree, paths, None, shape, output)
    scored: int | None
    if output is not None:
        scored = _named(output, paths, steady, last)
    else:
        scored = max(steady, key=lambda number: last[number][0].size, default=None)
    shape = () if scored is None else last[scored].shape[1:]  # type: ignore[union-attr]
    chosen = output is not None or len(paths) == 1
    return AnswerLayout(tree, paths, scored, shape, is_chosen=chosen)


def _named(output: str, paths: tuple[str, ...], steady: list[int], parts: list[Leaf]) -> int:
    offered = ", ".join(repr(path) for path in paths) if paths != ("",) else "one array"
    if output not in paths:
        raise UsageError(f"output={output!r}: the target answers {offered}", "name one of them")
    number = paths.index(output)
    if number not in steady:
        raise UsageError(
            f"output={output!r} is {_words(parts[number])}: it cannot be scored",
            "expected numbers of one shape for each row; a function computes them: output=lambda "
            "outputs: ...",
        )
    return number


def _template(
    samples: Sequence[Sample], path: str, paths: list[str]
) -> tuple[Any, tuple[str, ...]]:
    """The tree of numbers that fits all samples, and the paths of its leaves."""
    if all(map(_is_by_row, samples)) and not _is_tree(samples, path):
        samples = [Sample(_transposed(sample.outputs, path), sample.rows) for sample in samples]
    first = samples[-1].outputs
    if isinstance(first, Mapping):
        named = {}
        for name in first:
            inner = [Sample(_item(sample.outputs, name, path), sample.rows) for sample in samples]
            named[name], _ = _template(inner, _join(path, name), paths)
        return named, tuple(paths)
    if isinstance(first, list | tuple) and _is_tree(samples, path):
        parts = []
        for number in range(len(first)):
            inner = [Sample(_item(sample.outputs, number, path), sample.rows) for sample in samples]
            parts.append(_template(inner, _join(path, number), paths)[0])
        return (parts if isinstance(first, list) else tuple(parts)), tuple(paths)
    paths.append(path)
    return len(paths) - 1, tuple(paths)


def _is_tree(samples: Sequence[Sample], path: str) -> bool:
    """Whether lists have a part for each output, and not an item for each row."""
    tree = all(
        isinstance(sample.outputs, list | tuple)
        and bool(sample.outputs)
        and all(has_rows(part, sample.rows) for part in sample.outputs)
        for sample in samples
    )
    by_row = all(len(sample.outputs) == sample.rows for sample in samples)  # type: ignore[arg-type]
    if tree and by_row and samples[-1].rows > 1:
        raise UsageError(
            f"the target answered a batch of {samples[-1].rows} with {samples[-1].rows} arrays"
            f"{_at(path)} of {samples[-1].rows} rows each: these may be rows, or outputs",
            "return a dict of the outputs, or one array of all rows",
        )
    # Neither: then it is told which output has other rows.
    arrays = all(getattr(part, "shape", ()) for part in samples[-1].outputs)  # type: ignore[attr-defined]
    return tree or (not by_row and arrays)


def _is_by_row(sample: Sample) -> bool:
    """Whether this is a list with a dict for each row, as detectors of objects answer."""
    outputs = sample.outputs
    return (
        isinstance(outputs, list | tuple)
        and len(outputs) == sample.rows
        and all(isinstance(row, Mapping) for row in outputs)
    )


def _transposed(outputs: Any, path: str) -> dict[Any, list[object]]:  # noqa: ANN401 - a list
    """A dict with a list of rows for each output."""
    names = outputs[0] if outputs else ()
    return {name: [_item(row, name, path) for row in outputs] for name in names}


def has_rows(part: object, rows: int) -> bool:
    """Whether this is an array with so many rows, or a tree of such arrays."""
    if isinstance(part, Mapping):
        return bool(part) and all(has_rows(inner, rows) for inner in part.values())
    if isinstance(part, list | tuple):
        return len(part) == rows or (bool(part) and all(has_rows(one, rows) for one in part))
    return getattr(part, "shape", ())[:1] == (rows,)


def _take_apart(outputs: object, tree: Any, rows: int, path: str, into: list[Leaf]) -> None:  # noqa: ANN401
    if isinstance(tree, Mapping):
        if isinstance(outputs, list | tuple):
            outputs = _transposed(outputs, path)
        for name, inner in tree.items():
            _take_apart(_item(outputs, name, path), inner, rows, _join(path, name), into)
    elif isinstance(tree, list | tuple):
        for number, inner in enumerate(tree):
            _take_apart(_item(outputs, number, path), inner, rows, _join(path, number), into)
        if len(outputs) != len(tree):  # type: ignore[arg-type]  # it has items
            raise MisfitError(f"answered {len(outputs)} outputs{_at(path)}, not {len(tree)}")  # type: ignore[arg-type]
    else:
        into.append(_leaf(outputs, rows, path))


def _item(outputs: object, name: Any, path: str) -> object:  # noqa: ANN401 - a key or a number
    try:
        return outputs[name]  # type: ignore[index]
    except (TypeError, LookupError):
        raise MisfitError(f"answered without the output {_join(path, name)}") from None


def _leaf(value: object, rows: int, path: str) -> Leaf:
    """One output as an array of numbers or text, or as a list of rows of different shapes."""
    array = value if isinstance(value, np.ndarray) else _stacked(value)
    if array is None:
        by_row = [np.asarray(row) for row in value]  # type: ignore[attr-defined]  # it has items
        if len(by_row) != rows or not all(map(_is_known, by_row)):
            raise MisfitError(_misfit(by_row, rows, path))
        return [_plain(row) for row in by_row]
    if array.shape[:1] != (rows,) or not _is_known(array):
        raise MisfitError(_misfit(array, rows, path))
    return _plain(array)


def _stacked(value: object) -> NDArray[Any] | None:
    """A list of rows as one array; None if their shapes differ."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        if isinstance(value, list | tuple):
            return None
        raise MisfitError(f"answered an object of type {type(value).__name__}") from None
    nested = array.dtype.kind == "O" and not all(isinstance(x, str | bytes) for x in array.flat)
    return None if nested and isinstance(value, list | tuple) else array


def _is_plain(outputs: object) -> TypeGuard[NDArray[Any]]:
    """Whether this is an array of numpy's numbers; quick, as it is asked of each answer."""
    return type(outputs) is np.ndarray and outputs.dtype.char in _PLAIN


def _is_numeric(array: NDArray[Any]) -> bool:
    return array.dtype.kind in _NUMBERS or _is_short(array)


def _is_known(array: NDArray[Any]) -> bool:
    if array.dtype.kind == "O":
        return all(isinstance(text, str | bytes) for text in array.flat)
    return array.dtype.kind in _TEXT or _is_numeric(array)


def _is_short(array: NDArray[Any]) -> bool:
    """Whether these are bfloat16, or floats of 8 bits, which numpy itself does not know."""
    return array.dtype.kind == "V" and "float" in array.dtype.name


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if _is_short(array) else array


def _row_shape(leaf: Leaf) -> tuple[int, ...] | None:
    """The shape of a row; None if rows differ, or are no numbers."""
    return None if isinstance(leaf, list) or not _is_numeric(leaf) else leaf.shape[1:]


def _misfit(leaf: Leaf, rows: int, path: str) -> str:
    counted = (len(leaf),) if isinstance(leaf, list) else leaf.shape[:1]
    if path and counted and counted != (rows,):
        return f"{path}: {counted[0]} rows for a batch of {rows}"
    if path:
        return f"{path}: {_words(leaf)} for a batch of {rows}"
    text = f"answered {_words(leaf)} to a batch of {rows}"
    return text if counted == (rows,) else f"{text}: expected {rows} rows"


def _words(leaf: Leaf) -> str:
    if isinstance(leaf, list):
        return f"{len(leaf)} rows of different shapes"
    return f"{leaf.dtype}{list(leaf.shape)}"


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _at(path: str) -> str:
    return f" at {path}" if path else ""
