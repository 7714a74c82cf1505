"""Pads batches with zeros to one of a few sizes, and cuts answers to the original rows."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from pytest_dlperf.load.answer_tree import has_rows
from pytest_dlperf.load.outputs import read_outputs
from pytest_dlperf.trees import Rows, Tree, mapped, rows_of, taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock

_TRIAL_SIZES: Final = 24
_TRIAL_ROUNDS: Final = 3
_TRIAL_LIMIT_NS: Final = 20_000_000
_CLEARLY: Final = 0.95

Infer: TypeAlias = Callable[[Tree], object]
"""Answers a batch; inputs and outputs are arrays, or trees of arrays, with one row a request."""


def powers_of_two(largest: int) -> tuple[int, ...]:
    """1, 2, 4, ... below the largest size, and the largest itself; empty for 0."""
    sizes = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    return (*sizes, largest) if largest else ()


def padded(infer: Infer, sizes: Sequence[int]) -> Infer:
    """A callable that pads batches to the next of the ascending sizes; the last fits any batch."""

    def infer_padded(batch: Tree) -> object:
        rows = rows_of(batch)
        size = sizes[bisect_left(sizes, rows)]
        if rows == size:
            return infer(batch)
        outputs = read_outputs(infer(mapped(lambda leaf: _filled(leaf, size), batch)))
        return _cut(outputs, rows, size)

    return infer_padded


def _filled(leaf: NDArray[Any], size: int) -> NDArray[Any]:
    """An array with rows of zeros, or of its first text, at the end."""
    filled = np.zeros((size, *leaf.shape[1:]), leaf.dtype)
    if leaf.dtype.hasobject:
        filled[:] = leaf[0]  # a target may not take empty text
    filled[: len(leaf)] = leaf
    filled.flags.writeable = False  # as other batches are: a target must not write into it
    return filled


def _cut(outputs: object, rows: int, size: int) -> object:
    """The first rows of each output."""
    if isinstance(outputs, Mapping):
        return {name: _cut(part, rows, size) for name, part in outputs.items()}
    if isinstance(outputs, list | tuple):
        if len(outputs) == size and not all(has_rows(part, size) for part in outputs):
            return outputs[:rows]
        parts = [_cut(part, rows, size) for part in outputs]
        return parts if isinstance(outputs, list) else tuple(parts)
    # An answer with too few rows must be detected, not cut to the right shape.
    whole = getattr(outputs, "shape", ())[:1] == (size,)
    return outputs[:rows] if whole else outputs  # type: ignore[index]  # an array


def padding_words(sizes: Sequence[int]) -> str:
    """The padding in words, for descriptions."""
    return f"batches padded to {', '.join(map(str, sizes))}"


def trial_batches(sample: Rows, largest: int) -> list[Tree]:
    """Batches of random sizes up to the largest, the same ones every time."""
    sizes = np.random.default_rng(0).integers(1, largest + 1, _TRIAL_SIZES)
    numbers = [np.resize(np.arange(len(sample)), size) for size in sizes]
    return [taken(sample, index)[:] for index in numbers]


def faster(plain: Infer, filled: Infer, batches: Iterable[Tree], clock: Clock) -> Infer:
    """The faster of two callables on the same batches in turn; `filled` only if clearly faster."""
    ratios = []
    for batch in batches:
        times: dict[bool, list[int]] = {False: [], True: []}
        for turn in range(2 * _TRIAL_ROUNDS):
            pad = bool(turn % 2)
            started_ns = clock.now_ns()
            (filled if pad else plain)(batch)
            times[pad].append(clock.now_ns() - started_ns)
        if min(times[False]) > _TRIAL_LIMIT_NS:
            return plain
        ratios.append(statistics.mean(times[True]) / max(1.0, statistics.mean(times[False])))
    return filled if statistics.median(ratios) < _CLEARLY else plain
