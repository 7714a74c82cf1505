"""Rows: which distinct rows were answered, and rightly; the evidence for accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.statistics.proportions import paired_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Rows:
    """The answers to the distinct rows of one evaluation set, as bits.

    Attributes:
        data: hash of the inputs and labels; only rows of equal data can be paired.
        answered: whether each row was answered at all, shape `(rows,)`.
        right: whether most of the row's answers were right, shape `(rows,)`.
    """

    data: str
    answered: NDArray[np.bool_]
    right: NDArray[np.bool_]

    def pairable(self, base: Rows) -> bool:
        """Whether both are about the same rows."""
        return self.data == base.data and len(self.right) == len(base.right)

    def pairs(self, base: Rows) -> tuple[int, int, int]:
        """Rows that only `base` has right, that only this one has right, that both answered.

        Both must be `pairable`.
        """
        both = self.answered & base.answered
        only_base = int((both & base.right & ~self.right).sum())
        only_self = int((both & self.right & ~base.right).sum())
        return only_base, only_self, int(both.sum())

    def lost(self, base: Rows) -> Estimate | None:
        """What was lost in accuracy on the rows that both answered, in shares of one.

        None if there are no such rows.
        """
        if not self.pairable(base):
            return None
        only_base, only_self, both = self.pairs(base)
        return loss_of_pairs(only_base, only_self, both) if both else None

    def to_json(self) -> dict[str, object]:
        """Plain values; eight rows a byte, in hexadecimal."""
        return {
            "data": self.data,
            "rows": len(self.answered),
            "answered": np.packbits(self.answered).tobytes().hex(),
            "right": np.packbits(self.right).tobytes().hex(),
        }

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Rows:
        """The inverse of `to_json`.

        Raises:
            ValueError: if the bits do not make up the rows.
            KeyError: if a field is missing.
        """
        rows = value["rows"]
        if not isinstance(rows, int):
            raise ValueError(f"rows={rows!r} is no number")  # noqa: TRY004 - a bad file, not a bug
        return cls(str(value["data"]), _bits(value["answered"], rows), _bits(value["right"], rows))


def loss_of_pairs(lost: int, won: int, both: int) -> Estimate:
    """What was lost on rows that are right or wrong, in shares of one.

    Args:
        lost: rows that only the base has right.
        won: rows that only the other has right.
        both: rows that both answered, at least one.
    """
    # Every row is right or wrong as before: there is no loss whose size to wonder about.
    return paired_loss(lost, won, both) if lost or won else counted(0.0)


def _bits(text: object, rows: int) -> NDArray[np.bool_]:
    packed = np.frombuffer(bytes.fromhex(str(text)), dtype=np.uint8)
    if len(packed) != (rows + 7) // 8:
        raise ValueError(f"{len(packed)} bytes of bits for {rows} rows")
    return np.unpackbits(packed, count=rows).astype(np.bool_)
