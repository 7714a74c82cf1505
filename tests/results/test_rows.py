"""Rows: the bits that are the evidence for accuracy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import make_rows
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.results.row_evidence import Rows

_BITS = st.lists(st.tuples(*[st.integers(0, 1)] * 4), max_size=40)


@given(_BITS)
def test_pairs_by_brute_force(bits: list[tuple[int, int, int, int]]) -> None:
    """Pairs count rows that both answered: what only the base, and only the other has right."""
    now = make_rows([r for r, *_ in bits], [a for _, a, *_ in bits])
    base = make_rows([r for *_, r, _ in bits], [a for *_, a in bits])
    both = [(r, br) for r, a, br, ba in bits if a and ba]
    assert now.pairs(base) == (both.count((0, 1)), both.count((1, 0)), len(both))


def test_pairs_have_a_direction() -> None:
    """A row that was right before and is wrong now is the base's alone."""
    now, base = make_rows([0, 0, 1, 1]), make_rows([1, 1, 0, 1])
    assert now.pairs(base) == (2, 1, 4)
    assert base.pairs(now) == (1, 2, 4)


@given(_BITS, st.text())
def test_round_trip(bits: list[tuple[int, int, int, int]], data: str) -> None:
    """Rows survive being written as JSON, at any number of rows."""
    rows = make_rows([r for r, *_ in bits], [a for _, a, *_ in bits], data)
    back = Rows.from_json(json.loads(json.dumps(rows.to_json())))
    assert back.data == data
    assert np.array_equal(back.right, rows.right)
    assert np.array_equal(back.answered, rows.answered)
    assert back.right.dtype == bool


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
    """Bits that cannot be the rows' are a ValueError, not rows made up."""
    value = {**make_rows([1] * 9).to_json(), **change}
    with pytest.raises(ValueError, match=r".+"):
        Rows.from_json(value)


@pytest.mark.parametrize("field", ["data", "rows", "answered", "right"])
def test_missing_field(field: str) -> None:
    """Every field is needed."""
    value = make_rows([1]).to_json()
    del value[field]
    with pytest.raises(KeyError, match=field):
        Rows.from_json(value)
