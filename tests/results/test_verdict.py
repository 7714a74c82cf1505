"""Verdicts: what they do to a test."""

from __future__ import annotations

import itertools

import pytest
from builders import make_judgement

from pytest_dlperf.results.verdict import Verdict, consequence

LENIENCIES = ("pass", "warn", "fail")


@pytest.mark.parametrize(("missing", "inconclusive"), [*itertools.product(LENIENCIES, repeat=2)])
def test_consequence(missing: str, inconclusive: str) -> None:
    """PASS and FAIL are what they are; NEW and what noise leaves open are as lenient as asked."""
    want = {
        Verdict.PASS: "pass",
        Verdict.FAIL: "fail",
        Verdict.NEW: missing,
        Verdict.INCONCLUSIVE: inconclusive,
        Verdict.INVALID: inconclusive,
    }
    for verdict in Verdict:
        got = consequence(
            make_judgement(verdict),
            missing=missing,  # type: ignore[arg-type]
            inconclusive=inconclusive,  # type: ignore[arg-type]
            base_broken="fail",
        )
        assert got == want[verdict]


@pytest.mark.parametrize("base_broken", ["warn", "fail"])
@pytest.mark.parametrize("inconclusive", LENIENCIES)
def test_a_base_that_could_not_be_measured(inconclusive: str, base_broken: str) -> None:
    """It is no noise: what noise leaves open may pass, and this still fails."""
    got = consequence(
        make_judgement(Verdict.INCONCLUSIVE, base_broken=True),
        missing="pass",
        inconclusive=inconclusive,  # type: ignore[arg-type]
        base_broken=base_broken,  # type: ignore[arg-type]
    )
    assert got == base_broken


@pytest.mark.parametrize("inconclusive", LENIENCIES)
def test_what_can_never_be_judged_fails(inconclusive: str) -> None:
    """An INVALID that the settings cause fails, however lenient: it would never be judged."""
    judgement = make_judgement(Verdict.INVALID, lasting=True)
    got = consequence(
        judgement,
        missing="pass",
        inconclusive=inconclusive,  # type: ignore[arg-type]
        base_broken="warn",
    )
    assert got == "fail"
