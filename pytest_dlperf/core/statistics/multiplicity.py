"""Multiplicity: one error rate for a whole run, although it asks many questions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def split_alpha(alpha: float, weights: Sequence[float]) -> tuple[float, ...]:
    """An error rate for each question, so that any of them errs `alpha` of the time at most.

    `alpha w / sum(w)`: Bonferroni's inequality with weights (Holm 1979), which holds however the
    questions depend on each other, where the weights were set before the answers were seen.

    Args:
        alpha: of the whole run, between 0 and 1.
        weights: of the questions, each positive; equal ones split it evenly.

    Raises:
        ValueError: for an `alpha` that is no probability, or a weight that is not positive.

    >>> split_alpha(0.01, [1, 3])
    (0.0025, 0.0075)
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: expected a probability between 0 and 1")
    for weight in weights:
        if not 0 < weight < math.inf:
            raise ValueError(f"a question has the weight {weight}: expected one above 0")
    total = math.fsum(weights)
    return tuple(alpha * (weight / total) for weight in weights)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted for being many, in the order in which they came.

    Holm's step-down (Holm 1979): the i-th smallest of m, times `m - i + 1`, and no smaller than
    those before it. What is adjusted to `alpha` or less may be called proven; that any of these is
    wrong has a probability of `alpha` at most, however the questions depend on each other.

    Args:
        p_values: between 0 and 1.

    Raises:
        ValueError: for a value that is not between 0 and 1.

    >>> holm([0.25, 0.125, 0.0625])
    (0.25, 0.25, 0.1875)
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"{p} is no p-value: expected one from 0 to 1")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = min(1.0, max(largest, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return tuple(adjusted)
