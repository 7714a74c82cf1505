"""Row scores: what users' metrics say of each row; the evidence for their means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.metrics import metric_named

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

_BITS: Final = "bits"
_FLOATS: Final = MappingProxyType({"f2": "<f2", "f4": "<f4"})
_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class RowScores:
    """The scores of the distinct rows of one evaluation set, by the name of the metric.

    Scores are as files hold them from the start, so that what is stored and what is measured again
    are equal where the answers are: of shares with 11 significant bits, of all else with 24.

    Attributes:
        data: hash of the inputs and labels; only rows of equal data can be paired.
        scores: the mean score of each row's answers, NaN where it was not answered, shape
            `(rows,)`.
    """

    data: str
    scores: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        kept = {name: _as_kept(name, scores) for name, scores in self.scores.items()}
        object.__setattr__(self, "scores", MappingProxyType(kept))

    @property
    def complete(self) -> bool:
        """Whether every row was answered."""
        return not any(np.isnan(scores).any() for scores in self.scores.values())

    def pairs(
        self, base: RowScores, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """The scores here and there of the rows that both answered, shape `(n,)` each.

        None if they are not about the same rows, or none was answered by both.
        """
        now, then = self.scores.get(name), base.scores.get(name)
        if now is None or then is None or self.data != base.data or len(now) != len(then):
            return None
        both = ~(np.isnan(now) | np.isnan(then))
        return (now[both], then[both]) if both.any() else None

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
        return {"data": self.data, "rows": rows, "metrics": metrics}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RowScores:
        """The inverse of `to_json`; the metrics are known.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if the values are not of this shape.
        """
        rows = value["rows"]
        if not isinstance(rows, int) or isinstance(rows, bool):
            raise ValueError(f"rows={rows!r:.80} is no number")  # noqa: TRY004 - a bad file
        scores = {
            str(name): _unpacked(bytes.fromhex(str(one["scores"])), str(one["kind"]), rows)
            for name, one in value["metrics"].items()
        }
        return cls(str(value["data"]), scores)


def are_bits(scores: NDArray[np.float64]) -> bool:
    """Whether all scores are 0 or 1, so that each row is right or wrong."""
    return bool(np.isin(scores, (0.0, 1.0)).all())


def _as_kept(name: str, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    kind = _FLOATS["f2" if metric_named(name).unit == "share" else "f4"]
    kept: NDArray[np.float64] = np.minimum(scores, _LARGEST).astype(kind).astype(np.float64)
    kept.flags.writeable = False
    return kept


def _kind(name: str, scores: NDArray[np.float64]) -> str:
    if are_bits(scores):
        return _BITS
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
