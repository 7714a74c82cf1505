"""Pads batches with zeros to one of a few sizes, and cuts answers to the original rows."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pytest_dlperf.load.outputs import read_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_dlperf.clock import Clock

_TRIAL_SIZES: Final = 24
_TRIAL_ROUNDS: Final = 3
_TRIAL_LIMIT_NS: Final = 20_000_000
_CLEARLY: Final = 0.95

Infer: TypeAlias = Callable[[NDArray[Any]], object]
"""Answers a batch; both have one leading batch axis."""


def powers_of_two(largest: int) -> tuple[int, ...]:
    """1, 2, 4, ... below the largest size, and the largest itself; empty for 0."""
    sizes = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    return (*sizes, largest) if largest else ()


def padded(infer: Infer, sizes: Sequence[int]) -> Infer:
    """A callable that pads batches to the next of the ascending sizes; the last fits any batch."""

    def infer_padded(batch: NDArray[Any]) -> object:
        rows = len(batch)
        size = sizes[bisect_left(sizes, rows)]
        if rows == size:
            return infer(batch)
        filled = np.zeros((size, *batch.shape[1:]), batch.dtype)
        filled[:rows] = batch
        filled.flags.writeable = False  # as other batches are: a target must not write into it
        outputs = np.asarray(read_outputs(infer(filled)))
        # An answer with too few rows must be detected, not cut to the right shape.
        return outputs[:rows] if outputs.shape[:1] == (size,) else outputs

    return infer_padded


def padding_words(sizes: Sequence[int]) -> str:
    """The padding in words, for descriptions."""
    return f"batches padded to {', '.join(map(str, sizes))}"


def trial_batches(sample: NDArray[Any], largest: int) -> list[NDArray[Any]]:
    """Batches of random sizes up to the largest, the same ones every time."""
    sizes = np.random.default_rng(0).integers(1, largest + 1, _TRIAL_SIZES)
    return [np.resize(sample, (size, *sample.shape[1:])) for size in sizes]


def faster(plain: Infer, filled: Infer, batches: Iterable[NDArray[Any]], clock: Clock) -> Infer:
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
