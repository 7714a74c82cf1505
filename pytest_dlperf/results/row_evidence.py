"""Evidence for accuracy and users' metrics: results of each row of an evaluation set.

Rows of the same content, inputs and label, are one row here: a model answers them alike, so they
are one piece of evidence, however many copies there are. Where copies were answered differently,
as batches can make answers differ, most of the answers to all copies decide, and scores are means.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.metrics import metric_named
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.statistics.proportions import are_bits, paired_loss

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.statistics.estimate import Estimate


_BITS: Final = "bits"
_SIZES: Final = (1, 2, 4)  # bytes, of a number of copies
_DIGITS: Final = 12  # hexadecimal, of a fingerprint
_FLOATS: Final = MappingProxyType({"f2": "<f2", "f4": "<f4"})
_LARGEST: Final = float(np.finfo(np.float32).max)  # beyond it a stored score would be infinite


@dataclass(frozen=True, slots=True, eq=False)
class RowScores:
    """The scores of the distinct rows of one evaluation set, by the name of the metric.

    Scores are rounded as in files from the start, so that equal answers have equal scores before
    and after storing: shares to 11 significant bits, others to 24.

    Attributes:
        data: hash of the inputs and labels; only rows of equal data can be paired.
        scores: mean score of each row's answers, NaN for rows without one, shape `(rows,)`.
        copies: how many rows of the set have the content of each, shape `(rows,)`; None if all
            differ.
    """

    data: str
    scores: Mapping[str, NDArray[np.float64]]
    copies: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        rounded = {name: _rounded(name, scores) for name, scores in self.scores.items()}
        object.__setattr__(self, "scores", MappingProxyType(rounded))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowScores) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.data, *sorted(self.scores)))

    @property
    def complete(self) -> bool:
        """Whether every row was answered."""
        return not any(np.isnan(scores).any() for scores in self.scores.values())

    def pairs(
        self, base: RowScores, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """The scores of the rows that both answered, here and in `base`, shape `(n,)` each.

        None if the rows differ, or both answered none.
        """
        now, then = self.scores.get(name), base.scores.get(name)
        if now is None or then is None or self.data != base.data or len(now) != len(then):
            return None
        both = ~(np.isnan(now) | np.isnan(then))
        return (now[both], then[both]) if both.any() else None

    def weights(self, base: RowScores, name: str) -> NDArray[np.float64] | None:
        """The weight of each pair of `pairs`, with a mean of 1; None if all weigh the same."""
        now, then = self.scores[name], base.scores[name]
        return _weights(self.copies, ~(np.isnan(now) | np.isnan(then)))

    def fingerprint(self, name: str) -> str:
        """A short hash of a metric's scores: equal ones are the same answers to the same rows."""
        return _digest(self.data, self.scores[name].tobytes())

    def without(self, names: Collection[str]) -> RowScores | None:
        """The scores of the other metrics; None if there are none."""
        kept = {name: scores for name, scores in self.scores.items() if name not in names}
        return replace(self, scores=kept) if kept else None

    def to_json(self) -> dict[str, object]:
        """Plain values: hexadecimal, eight rows a byte where all are 0 or 1, else floats."""
        metrics = {}
        for name, scores in sorted(self.scores.items()):
            kind = _kind(name, scores)
            metrics[name] = {"kind": kind, "scores": _packed(scores, kind).hex()}
        rows = max((len(scores) for scores in self.scores.values()), default=0)
        return {"data": self.data, "rows": rows, "metrics": metrics, **_written(self.copies)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RowScores:
        """The inverse of `to_json`; the metrics must be known."""
        rows = value["rows"]
        if not isinstance(rows, int) or isinstance(rows, bool):
            raise ValueError(f"rows={rows!r:.80} is no number")  # noqa: TRY004 - a bad file
        scores = {
            str(name): _unpacked(bytes.fromhex(str(metric["scores"])), str(metric["kind"]), rows)
            for name, metric in value["metrics"].items()
        }
        return cls(str(value["data"]), scores, _copies(value, rows))


def _rounded(name: str, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    dtype = _FLOATS[_float_kind(name)]
    rounded: NDArray[np.float64] = np.minimum(scores, _LARGEST).astype(dtype).astype(np.float64)
    rounded.flags.writeable = False
    return rounded


def _kind(name: str, scores: NDArray[np.float64]) -> str:
    return _BITS if are_bits(scores) else _float_kind(name)


def _float_kind(name: str) -> str:
    return "f2" if metric_named(name).unit == "share" else "f4"


def _packed(scores: NDArray[np.float64], kind: str) -> bytes:
    if kind == _BITS:
        return np.packbits(scores.astype(bool)).tobytes()
    return scores.astype(_FLOATS[kind]).tobytes()


def _unpacked(packed: bytes, kind: str, rows: int) -> NDArray[np.float64]:
    if kind == _BITS:
        if len(packed) != (rows + 7) // 8:
            raise ValueError(f"{len(packed)} bytes of bits for {rows} rows")
        return np.unpackbits(np.frombuffer(packed, np.uint8), count=rows).astype(np.float64)
    scores = np.frombuffer(packed, dtype=_FLOATS[kind]).astype(np.float64)
    if len(scores) != rows:
        raise ValueError(f"{len(scores)} scores for {rows} rows")
    if np.isinf(scores).any() or (scores < 0).any():
        raise ValueError("a score is below 0, or not finite")
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Which distinct rows of one evaluation set were answered correctly.

    Of rows with positions, such as the tokens of a text, how many of these.

    Attributes:
        data: hash of the inputs and labels; only rows of equal data can be paired.
        answered: whether the target was asked each row, shape `(rows,)`. One that it has only
            failed on, or answered with NaN, counts: it was not answered correctly.
        right: whether most of the row's answers were correct, shape `(rows,)`; with positions how
            many of them, as a mean over the row's answers.
        copies: how many rows of the set have the content of each, shape `(rows,)`; None if all
            differ.
        positions: how many positions each row has, shape `(rows,)`; None where rows are right or
            wrong. A row without any tells nothing.
    """

    data: str
    answered: NDArray[np.bool_]
    right: NDArray[np.bool_] | NDArray[np.int64]
    copies: NDArray[np.int64] | None = None
    positions: NDArray[np.int64] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def pairable(self, base: Rows) -> bool:
        """Whether both are about the same rows, or positions of them."""
        if self.data != base.data or len(self.right) != len(base.right):
            return False
        if self.positions is None or base.positions is None:
            return self.positions is base.positions
        return bool((self.positions == base.positions).all())

    def both(self, base: Rows) -> NDArray[np.bool_]:
        """The rows that both were asked, and that tell something, shape `(rows,)`.

        Both must be `pairable`, here and below.
        """
        both = self.answered & base.answered
        return both if self.positions is None else both & (self.positions > 0)

    def pairs(self, base: Rows) -> tuple[int, int, int]:
        """Rows that only `base` has right, that only this has right, and of `both`.

        Of rows with positions, those of which it has more positions right.
        """
        both = self.both(base)
        only_base = int((both & (base.right > self.right)).sum())
        only_self = int((both & (self.right > base.right)).sum())
        return only_base, only_self, int(both.sum())

    def shares(self, base: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The share that is right of each row of `both`: here, and in `base`."""
        both = self.both(base)
        of = np.ones(int(both.sum())) if self.positions is None else self.positions[both]
        return self.right[both] / of, base.right[both] / of

    def weights(self, base: Rows) -> NDArray[np.float64] | None:
        """The weight of each row of `both`, with a mean of 1; None if all are equal.

        A row weighs as many copies as it has, and each of them its positions.
        """
        if self.positions is None:
            return _weights(self.copies, self.both(base))
        copies = self.positions if self.copies is None else self.copies * self.positions
        return _weights(copies, self.both(base))

    def fingerprint(self) -> str:
        """A short hash: equal ones are the same rows right of the same data."""
        if self.positions is None:
            content = np.packbits([self.answered, self.right]).tobytes()
        else:
            content = self.answered.tobytes() + self.right.tobytes()
        return _digest(self.data, content)

    def to_json(self) -> dict[str, object]:
        """Plain values; eight rows a byte, in hexadecimal. Copies only where there are any.

        Of rows with positions, `right` has how many are right, then how many there are, as whole
        numbers of 1, 2 or 4 bytes.
        """
        if self.positions is None:
            right = np.packbits(self.right).tobytes()
        else:
            size = _size(self.positions)
            right = np.stack([self.right, self.positions]).astype(f"<u{size}").tobytes()
        return {
            "data": self.data,
            "rows": len(self.answered),
            "answered": np.packbits(self.answered).tobytes().hex(),
            "right": right.hex(),
            **_written(self.copies),
        }

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Rows:
        """The inverse of `to_json`."""
        rows = value["rows"]
        if not isinstance(rows, int):
            raise ValueError(f"rows={rows!r} is no number")  # noqa: TRY004 - a bad file, not a bug
        answered, copies = _bits(value["answered"], rows), _copies(value, rows)
        counts = _counts(value["right"], rows)
        if counts is None:
            return cls(str(value["data"]), answered, _bits(value["right"], rows), copies)
        right, positions = counts
        if (right > positions).any():
            raise ValueError("a row has more positions right than it has")
        return cls(str(value["data"]), answered, right, copies, positions)


def fingerprints(rows: Rows | None, scores: RowScores | None) -> Mapping[str, str]:
    """A fingerprint of all rows' results, by the name of the metric."""
    of_scores = {name: scores.fingerprint(name) for name in scores.scores} if scores else {}
    return MappingProxyType({**({"accuracy": rows.fingerprint()} if rows else {}), **of_scores})


def loss_of_pairs(lost: int, won: int, both: int) -> Estimate:
    """The loss of accuracy over `both` rows; `lost` and `won` are right on one side only."""
    # With every row right or wrong as before the loss is exactly 0, without an interval.
    return paired_loss(lost, won, both) if lost or won else counted(0.0)


def _weights(
    copies: NDArray[np.int64] | None, counted_rows: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    if copies is None or not counted_rows.any():
        return None
    of_rows = copies[counted_rows].astype(np.float64)
    return None if of_rows.min() == of_rows.max() else of_rows / of_rows.mean()


def _digest(data: str, content: bytes) -> str:
    return hashlib.sha256(data.encode() + content).hexdigest()[:_DIGITS]


def _written(copies: NDArray[np.int64] | None) -> dict[str, object]:
    if copies is None:
        return {}
    if copies.min() == copies.max():
        return {"copies": int(copies[0])}
    size = _size(copies)
    return {"copies": copies.astype(f"<u{size}").tobytes().hex()}


def _size(numbers: NDArray[np.int64]) -> int:
    """How many bytes hold each of these numbers."""
    return next(size for size in _SIZES if numbers.max(initial=0) < 1 << 8 * size)


def _counts(text: object, rows: int) -> NDArray[np.int64] | None:
    """Two numbers of each row, shape `(2, rows)`; None if the text has bits."""
    packed = bytes.fromhex(str(text))
    if not rows or len(packed) not in {2 * size * rows for size in _SIZES}:
        return None
    numbers = np.frombuffer(packed, f"<u{len(packed) // (2 * rows)}")
    return numbers.astype(np.int64).reshape(2, rows)


def _copies(value: Mapping[str, Any], rows: int) -> NDArray[np.int64] | None:
    if "copies" not in value:
        return None
    written = value["copies"]
    if isinstance(written, int) and not isinstance(written, bool):
        return np.full(rows, written)
    packed = bytes.fromhex(str(written))
    if not rows or len(packed) not in {size * rows for size in _SIZES}:
        raise ValueError(f"{len(packed)} bytes of copies for {rows} rows")
    return np.frombuffer(packed, f"<u{len(packed) // rows}").astype(np.int64)


def _bits(text: object, rows: int) -> NDArray[np.bool_]:
    packed = np.frombuffer(bytes.fromhex(str(text)), dtype=np.uint8)
    if len(packed) != (rows + 7) // 8:
        raise ValueError(f"{len(packed)} bytes of bits for {rows} rows")
    return np.unpackbits(packed, count=rows).astype(np.bool_)
