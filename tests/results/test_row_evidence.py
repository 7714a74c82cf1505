"""Evidence of rows: the scores of users' metrics and the bits of accuracy, as files hold them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import make_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_dlperf.metrics import define, users_metric
from pytest_dlperf.results.row_evidence import Rows, RowScores, fingerprints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.units import Dimension

_SHARES = st.floats(0, 1) | st.just(float("nan")) | st.sampled_from([0.0, 1.0])
_ANY = st.floats(0, 1e300) | st.just(float("nan"))


@pytest.fixture(autouse=True)
def _metrics(own_metrics: None) -> None:
    """A share and a number."""
    del own_metrics
    units: dict[str, Dimension] = {"ndcg": "share", "rank": "1"}
    for name, unit in units.items():
        define(users_metric(name, unit, "higher", 0.01))


def scores_of(ndcg: Sequence[float], data: str = "d", **others: Sequence[float]) -> RowScores:
    """Scores of one metric, and of others."""
    given = {"ndcg": ndcg, **others}
    return RowScores(data, {name: np.array(column, float) for name, column in given.items()})


def written(scores: RowScores) -> dict[str, Any]:
    """As a file holds them."""
    value: dict[str, Any] = json.loads(json.dumps(scores.to_json()))
    return value


def _columns(rows: int) -> st.SearchStrategy[tuple[list[float], list[float]]]:
    return st.tuples(
        *(st.lists(scores, min_size=rows, max_size=rows) for scores in (_SHARES, _ANY))
    )


# The metrics are the same for all examples.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 20).flatmap(_columns))
def test_scores_round_trip(columns: tuple[list[float], list[float]]) -> None:
    """Scores are read as they were written, and as they were measured but for rounding."""
    ndcg, rank = columns
    scores = scores_of(ndcg, rank=rank)
    back = RowScores.from_json(written(scores))

    assert back.data == "d"
    assert back.scores.keys() == {"ndcg", "rank"}
    for name, was in scores.scores.items():
        np.testing.assert_array_equal(back.scores[name], was)
    np.testing.assert_allclose(back.scores["ndcg"], ndcg, rtol=0, atol=2.5e-4)
    largest = float(np.finfo(np.float32).max)
    np.testing.assert_allclose(
        back.scores["rank"], np.minimum(rank, largest), rtol=6e-8, atol=1e-44
    )


def test_zeros_and_ones_are_bits() -> None:
    """Scores of 0 and 1 take a bit a row, other shares two bytes, others four."""
    bits = scores_of([1, 0] * 500, rank=[3.0] * 1000).to_json()["metrics"]
    floats = scores_of([1, 0.5] * 500).to_json()["metrics"]

    assert bits["ndcg"] == {"kind": "bits", "scores": "aa" * 125}  # type: ignore[index]
    assert len(bits["rank"]["scores"]) == 8 * 1000  # type: ignore[index]
    assert len(floats["ndcg"]["scores"]) == 4 * 1000  # type: ignore[index]


def test_pairs_are_of_rows_that_both_answered() -> None:
    """Pairs keep the order of rows, and need the same data and number of rows."""
    nan = float("nan")
    now, base = scores_of([0.25, nan, 0.5, 1.0]), scores_of([0.75, 0.5, nan, 0.0])

    both = now.pairs(base, "ndcg")
    assert both is not None
    assert [side.tolist() for side in both] == [[0.25, 1.0], [0.75, 0.0]]
    for other in (
        scores_of([0.75, 0.5, nan, 0.0], data="other"),
        scores_of([0.75, 0.5, nan]),
        scores_of([nan, 0.5, nan, nan]),
    ):
        assert now.pairs(other, "ndcg") is None
    assert now.pairs(base, "rank") is None
    assert not now.complete
    assert scores_of([0.5]).complete


def test_scores_cannot_be_changed() -> None:
    """Scores are read-only."""
    with pytest.raises(ValueError, match="read-only"):
        scores_of([0.5]).scores["ndcg"][0] = 1.0


def test_without() -> None:
    """`without` leaves out the given metrics."""
    scores = scores_of([0.5], rank=[2.0])
    rest = scores.without({"ndcg"})
    assert rest is not None
    assert rest.scores.keys() == {"rank"}
    assert scores.without({"ndcg", "rank"}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 3},
        {"rows": -1},
        {"rows": "2"},
        {"rows": True},
        {"metrics": {"ndcg": {"kind": "f2", "scores": "00"}}},
        {"metrics": {"ndcg": {"kind": "f2", "scores": "zz"}}},
        {"metrics": {"ndcg": {"kind": "f8", "scores": "0000"}}},
        {"metrics": {"ndcg": {"kind": "bits", "scores": "000000"}}},
        {"metrics": {"ndcg": {"kind": "f2", "scores": "007c007c"}}},
        {"metrics": {"ndcg": {"kind": "f2", "scores": "00b800b8"}}},
        {"metrics": {"ndcg": {"kind": "f2"}}},
        {"metrics": {"nobody": {"kind": "f2", "scores": "00380038"}}},
        {"metrics": []},
    ],
)
def test_damaged_scores(change: dict[str, object]) -> None:
    """Damaged scores are refused."""
    value = {**written(scores_of([0.5, 0.25])), **change}
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        RowScores.from_json(value)


_BITS = st.lists(st.tuples(*[st.integers(0, 1)] * 4), max_size=40)


@given(_BITS)
def test_pairs_of_rows_by_brute_force(bits: list[tuple[int, int, int, int]]) -> None:
    """Pairs count rows that both answered: what only the base, and only the other has right."""
    now = make_rows([r for r, *_ in bits], [a for _, a, *_ in bits])
    base = make_rows([r for *_, r, _ in bits], [a for *_, a in bits])
    both = [(r, br) for r, a, br, ba in bits if a and ba]
    assert now.pairs(base) == (both.count((0, 1)), both.count((1, 0)), len(both))


def test_pairs_of_rows_have_a_direction() -> None:
    """A row that was right before and is wrong now is the base's alone."""
    now, base = make_rows([0, 0, 1, 1]), make_rows([1, 1, 0, 1])
    assert now.pairs(base) == (2, 1, 4)
    assert base.pairs(now) == (1, 2, 4)


@given(_BITS, st.text())
def test_rows_round_trip(bits: list[tuple[int, int, int, int]], data: str) -> None:
    """Rows survive being written as JSON, at any number of rows."""
    rows = make_rows([r for r, *_ in bits], [a for _, a, *_ in bits], data)
    back = Rows.from_json(json.loads(json.dumps(rows.to_json())))
    assert back.data == data
    assert np.array_equal(back.right, rows.right)
    assert np.array_equal(back.answered, rows.answered)
    assert back.right.dtype == bool


@pytest.mark.parametrize(
    ("copies", "size"),
    [([10] * 40, 0), ([1, 2] * 20, 1), ([300, 2] * 20, 2), ([70_000, 2] * 20, 4)],
)
def test_copies_round_trip(copies: list[int], size: int) -> None:
    """How many copies rows have is kept in as few bytes as it needs, one number if all have."""
    rows = dataclasses.replace(make_rows([1, 0] * 20), copies=np.array(copies))
    scores = RowScores("d", {"ndcg": np.full(40, 0.5)}, np.array(copies))
    for evidence in (rows, scores):
        value = json.loads(json.dumps(evidence.to_json()))
        assert value["copies"] == 10 if not size else len(value["copies"]) == 2 * size * 40
        back = type(evidence).from_json(value)
        assert back.copies is not None
        assert back.copies.tolist() == copies
    assert "copies" not in make_rows([1, 0]).to_json()


@pytest.mark.parametrize("copies", ["0102", "zz", [1, 2], None, True])
def test_damaged_copies(copies: object) -> None:
    """Copies that do not fit the number of rows are refused."""
    value = {**make_rows([1] * 9).to_json(), "copies": copies}
    with pytest.raises((TypeError, ValueError)):
        Rows.from_json(value)


def test_fingerprints() -> None:
    """They are the same for the same answers to the same rows, before and after storing."""
    rows, scores = make_rows([1, 0, 1]), scores_of([0.25, 1.0])
    back = Rows.from_json(json.loads(json.dumps(rows.to_json())))
    marks = fingerprints(rows, scores)
    assert marks == fingerprints(back, RowScores.from_json(written(scores)))
    assert marks.keys() == {"accuracy", "ndcg"}
    assert fingerprints(None, None) == {}
    others = [make_rows([1, 0, 0]), make_rows([1, 0, 1], [1, 1, 0]), make_rows([1, 0, 1], data="e")]
    assert len({marks["accuracy"], *(other.fingerprint() for other in others)}) == 4


def test_eight_rows_a_byte() -> None:
    """A thousand rows take 250 digits, not thousands."""
    value = make_rows([1, 0] * 500).to_json()
    assert value["rows"] == 1000
    assert value["right"] == "aa" * 125


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 17},
        {"rows": 8},
        {"rows": -9},
        {"rows": "9"},
        {"rows": None},
        {"rows": 9.0},
        {"right": "f"},
        {"right": "zz"},
        {"right": ""},
        {"answered": "ffff00"},
        {"answered": None},
    ],
)
def test_bits_that_do_not_make_up_the_rows(change: dict[str, object]) -> None:
    """Bits that do not fit the number of rows are a ValueError."""
    value = {**make_rows([1] * 9).to_json(), **change}
    with pytest.raises(ValueError, match=r".+"):
        Rows.from_json(value)


@pytest.mark.parametrize("field", ["data", "rows", "answered", "right"])
def test_rows_need_every_field(field: str) -> None:
    """Every field is needed."""
    value = make_rows([1]).to_json()
    del value[field]
    with pytest.raises(KeyError, match=field):
        Rows.from_json(value)


def with_positions(right: Sequence[int], positions: Sequence[int], data: str = "d") -> Rows:
    """Rows of which so many positions are right; all were asked."""
    answered = np.ones(len(right), bool)
    return Rows(data, answered, np.array(right), positions=np.array(positions))


@pytest.mark.parametrize("longest", [1, 200, 300, 70_000])
def test_positions_round_trip(longest: int) -> None:
    """In as many bytes as the longest row needs, a single row as well as many."""
    for count in (1, 9):
        rows = with_positions([longest // 2] * count, [longest] * count)

        back = Rows.from_json(json.loads(json.dumps(rows.to_json())))

        assert back.positions is not None
        assert back.positions.tolist() == [longest] * count
        assert back.right.tolist() == rows.right.tolist()
        assert back.fingerprint() == rows.fingerprint()


def test_pairs_of_rows_with_positions() -> None:
    """Counted are rows of which one side has more right; empty rows are no evidence."""
    now = with_positions([1, 4, 0, 4], [2, 4, 0, 6])
    base = with_positions([2, 4, 0, 3], [2, 4, 0, 6])

    assert now.pairs(base) == (1, 1, 3)
    assert [side.tolist() for side in now.shares(base)] == [[0.5, 1, 4 / 6], [1, 1, 0.5]]
    weights = now.weights(base)
    assert weights is not None
    assert weights.tolist() == [0.5, 1, 1.5]
    assert now.fingerprint() != base.fingerprint()


def test_rows_and_positions_are_not_compared() -> None:
    """Nor rows of other lengths."""
    rows, positions = make_rows([1, 0]), with_positions([1, 0], [1, 1])

    assert not rows.pairable(positions)
    assert not positions.pairable(rows)
    assert not positions.pairable(with_positions([1, 0], [1, 2]))
    assert positions.pairable(with_positions([0, 0], [1, 1]))


def test_more_right_than_there_are() -> None:
    """Such a file is damaged."""
    with pytest.raises(ValueError, match="more positions right"):
        Rows.from_json(with_positions([3], [2]).to_json())


def test_evidence_is_compared_by_its_content() -> None:
    """As all that holds it is: a baseline that was read again is the one that was shown."""
    rows, other = make_rows([1, 0, 1]), make_rows([1, 1, 1])
    assert rows == Rows.from_json(rows.to_json())
    assert hash(rows) == hash(make_rows([1, 0, 1]))
    assert rows != other
    assert rows != scores_of([1.0, 0.0, 1.0])

    scores = scores_of([0.5, float("nan")])
    assert scores == RowScores.from_json(written(scores))
    assert hash(scores) == hash(scores_of([0.5, float("nan")]))
    assert scores != scores_of([0.5, 0.0])
    one, two = np.ones(2), np.zeros(2)
    either, order = RowScores("d", {"ndcg": one, "rank": two}), {"rank": two, "ndcg": one}
    assert (either, hash(either)) == (RowScores("d", order), hash(RowScores("d", order)))
