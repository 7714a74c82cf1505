"""Confident learning: worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_dlperf.data.label_noise import LabelNoise, Suspect, confident_learning

_CLASSES = np.array([3, 7])


def test_worked_by_hand() -> None:
    """Thresholds 0.75 and 0.6; row 2 counts as of the other class, row 5 as of none."""
    first = np.array([0.9, 0.95, 0.4, 0.1, 0.15, 0.5, 0.85])
    shares = np.column_stack((first, 1 - first))
    given = np.array([0, 0, 0, 1, 1, 1, 1])
    # Mean of 0.9, 0.95 and 0.4 is 0.75; of 0.9, 0.85, 0.5 and 0.15 it is 0.6.
    # Row 2: 0.6 of class 7 reaches it. Row 6: 0.85 of class 3 does. Row 5 reaches neither.
    # Counts: label 3: two of 3, one of 7; label 7: one of 3, two of 7.
    # Wrong: (1/3 of 3 rows + 1/3 of 4 rows) / 7.

    found = confident_learning(shares, given, _CLASSES)

    assert found.rate == pytest.approx(1 / 3)
    assert found.accuracy == pytest.approx(4 / 7)
    assert [(one.row, one.given, one.likely) for one in found.suspects] == [(6, 7, 3), (2, 3, 7)]
    assert found.suspects[0].given_share == pytest.approx(0.15)
    assert found.suspects[0].likely_share == pytest.approx(0.85)


def test_sure_and_right_is_never_suspect() -> None:
    """A model that agrees with every label finds nothing."""
    given = np.array([0, 1, 0, 1, 1])

    found = confident_learning(np.eye(2)[given], given, _CLASSES)

    assert found == LabelNoise(rows=5, accuracy=1.0, rate=0.0, suspects=())


def test_the_report_shows_the_most_suspicious_rows() -> None:
    """Ten of them, what the label is and what it should be, and that there are more."""
    suspect = Suspect(row=12, given=3, likely=8, given_share=0.01, likely_share=0.97)

    text = str(LabelNoise(rows=1437, accuracy=0.95, rate=0.0512, suspects=(suspect,) * 12))

    assert text.startswith(
        "labels: 12 of 1,437 rows are suspect; about 5.12 % of all labels are wrong\n"
        "  by a model that gives 95.00 % of rows it has not seen their label\n"
        "  row 12: label 3 (1%), likely 8 (97%)\n"
    )
    assert text.count("row 12:") == 10
    assert text.endswith("  and 2 more in .suspects")
    assert max(map(len, text.splitlines())) <= 80
