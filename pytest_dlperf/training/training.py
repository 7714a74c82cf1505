"""Training: what fitting a model was like, epoch by epoch and step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the rows.

    Attributes:
        number: of it; the first one is 1.
        of: how many there will be.
        seconds: of training, without evaluating and without the first step of a size.
        logs: what Keras reports of it; and of test rows, where there are any, `val_loss` and,
            where answers are right or wrong, `val_accuracy`.
    """

    number: int
    of: int
    seconds: float
    logs: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The steps after the first one of each size of batch, in their order.

    Attributes:
        rows: that each of them saw, shape `(steps,)`; several steps that TensorFlow carries out
            in one call count as one.
        ns: how long each took, what lies between two epochs included, shape `(steps,)`.
    """

    rows: NDArray[np.int64]
    ns: NDArray[np.int64]

    @property
    def seconds(self) -> float:
        """All of them together."""
        return float(self.ns.sum()) * 1e-9

    @property
    def rows_per_second(self) -> float:
        """Of all of them together; 0 if there are none."""
        return float(self.rows.sum()) / self.seconds if self.seconds else 0.0
