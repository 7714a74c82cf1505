"""The tree of outputs of which a target's answers consist, and their arrays in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.answer_leaves import MisfitError, at_path, joined_path, read_leaf

if TYPE_CHECKING:
    from pytest_dlperf.load.answer_leaves import Leaf


@dataclass(frozen=True, slots=True)
class Sample:
    """The answer to a batch of `rows` rows, as `read_outputs` returns it."""

    outputs: object
    rows: int


def tree_of(samples: Sequence[Sample], path: str, paths: list[str]) -> tuple[Any, tuple[str, ...]]:
    """The tree of numbers that fits all samples, and the paths of its leaves."""
    if all(map(_is_by_row, samples)) and not _is_tree(samples, path):
        samples = [Sample(_transposed(sample.outputs, path), sample.rows) for sample in samples]
    first = samples[-1].outputs
    if isinstance(first, Mapping):
        named = {}
        for name in first:
            inner = [Sample(_item(sample.outputs, name, path), sample.rows) for sample in samples]
            named[name], _ = tree_of(inner, joined_path(path, name), paths)
        return named, tuple(paths)
    if isinstance(first, list | tuple) and _is_tree(samples, path):
        parts = []
        for number in range(len(first)):
            inner = [Sample(_item(sample.outputs, number, path), sample.rows) for sample in samples]
            parts.append(tree_of(inner, joined_path(path, number), paths)[0])
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
            f"{at_path(path)} of {samples[-1].rows} rows each: these may be rows, or outputs",
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


def take_apart(outputs: object, tree: Any, rows: int, path: str, into: list[Leaf]) -> None:  # noqa: ANN401
    """Append the outputs of an answer, in the order of their numbers.

    Raises:
        MisfitError: naming the path of what is missing, or has other rows.
    """
    if isinstance(tree, Mapping):
        if isinstance(outputs, list | tuple):
            outputs = _transposed(outputs, path)
        for name, inner in tree.items():
            take_apart(_item(outputs, name, path), inner, rows, joined_path(path, name), into)
    elif isinstance(tree, list | tuple):
        for number, inner in enumerate(tree):
            take_apart(_item(outputs, number, path), inner, rows, joined_path(path, number), into)
        if len(outputs) != len(tree):  # type: ignore[arg-type]  # it has items
            raise MisfitError(f"answered {len(outputs)} outputs{at_path(path)}, not {len(tree)}")  # type: ignore[arg-type]
    else:
        into.append(read_leaf(outputs, rows, path))


def _item(outputs: object, name: Any, path: str) -> object:  # noqa: ANN401 - a key or a number
    try:
        return outputs[name]  # type: ignore[index]
    except (TypeError, LookupError):
        raise MisfitError(f"answered without the output {joined_path(path, name)}") from None
