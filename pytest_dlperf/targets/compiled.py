"""Targets that are compiled, or called in a framework's own way, before they are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.targets.padding import (
    Infer,
    faster,
    padded,
    padding_words,
    powers_of_two,
    trial_batches,
)

if TYPE_CHECKING:
    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.trees import Rows


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTarget:
    """A target on its device.

    Attributes:
        infer: numpy in, numpy out; reading the result back waits for the device.
        batches: how batches reach it, in words.
        remark: a warning about where it runs; may be empty.
        weights: copies of a model's variables; they are freed when this is.
        source: what owns the variables that `infer` reads, which it does not keep alive itself.
    """

    infer: Infer
    batches: str
    remark: str = ""
    weights: tuple[object, ...] = ()
    source: object = None


def batched(direct: Infer, sample: Rows, plan: Plan, clock: Clock) -> tuple[Infer, str]:
    """The call with its batches padded where that pays, and the padding in words.

    Batches are padded to the allowed sizes. Without any, they are padded to powers of two if that
    is clearly faster here, as with runtimes that prepare code for each shape.
    """
    serving = plan.served
    largest = serving.max_batch_size
    if serving.allowed_batch_sizes:
        sizes = serving.allowed_batch_sizes
        return padded(direct, sizes), padding_words(sizes)
    if largest > 1 and plan.tries_padding:
        filled = padded(direct, powers_of_two(largest))
        if faster(direct, filled, trial_batches(sample, largest), clock) is filled:
            return filled, "batches padded to powers of two"
    return direct, "batches sent as they are"


def of_fixed_sizes(direct: Infer, plan: Plan) -> tuple[Infer, str]:
    """The call of what is compiled for each batch size, with its batches padded to a few sizes."""
    serving = plan.served
    if serving.allowed_batch_sizes:
        return padded(direct, serving.allowed_batch_sizes), padding_words(
            serving.allowed_batch_sizes
        )
    largest = serving.max_batch_size
    if largest == 1:
        return direct, "batches sent as they are"
    return padded(direct, powers_of_two(largest)), "batches padded to powers of two"
