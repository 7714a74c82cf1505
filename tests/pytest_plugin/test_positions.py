"""Models with a label for each position of a row, as a user of pytest writes and sees them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from plugin_projects import assert_no_frame_of_ours, text

if TYPE_CHECKING:
    from plugin_projects import Run

TAGGING = """
RNG = np.random.default_rng(1)
TOKENS = [RNG.integers(1, 50, RNG.integers(1, 12)) for _ in range(400)]
TAGGED = (Ragged(TOKENS), Ragged([row % 5 for row in TOKENS]))

def tag(batch):
    spend(200e-6)
    return np.eye(5)[batch % 5]

def worse(batch):
    spend(200e-6)
    return np.eye(5)[np.where(batch > 40, batch + 1, batch) % 5]

"""
MEASURED = """
@pytest.mark.dlperf("accuracy >= baseline", **SHORT)
def test_it(dlperf):
    dlperf(tag, TAGGED)
"""


def test_against_a_stored_baseline(run: Run) -> None:
    """The same positions right is PASS, a fifth of them wrong is FAIL, whose rows are paired."""
    run(TAGGING + MEASURED).assert_outcomes(passed=1)
    run(TAGGING + MEASURED, "--dlperf-update=new").assert_outcomes(passed=1)

    same = run(TAGGING + MEASURED)
    lost = run(TAGGING + MEASURED.replace("(tag", "(worse"))

    same.assert_outcomes(passed=1)
    same.stdout.re_match_lines([r"test_it .*100.00 % .*PASS"])
    lost.assert_outcomes(failed=1)
    lost.stdout.re_match_lines([r"E +accuracy >= baseline.*FAIL"])


def test_models_that_are_measured_in_turn(run: Run) -> None:
    """A duel in one process: the same is green, a fifth of the positions wrong is red."""
    result = run(
        TAGGING
        + """
@pytest.mark.dlperf("accuracy >= baseline", **SHORT)
@pytest.mark.parametrize("candidate", [tag, worse])
def test_it(dlperf, candidate):
    dlperf.duel(tag, candidate, TAGGED)
""",
        "--dlperf-inconclusive=fail",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines_random([r"test_it\[tag\] .*PASS", r"test_it\[worse\] .*FAIL"])


@pytest.mark.usefixtures("own_metrics")
def test_a_metric_of_ones_own(run: Run) -> None:
    """Whole rows that are right: it gets lists of rows, without padding."""
    result = run(
        TAGGING
        + """
@metric(unit="share")
def whole(outputs, labels):
    return [(out.argmax(-1) == tags).all() for out, tags in zip(outputs, labels)]

@pytest.mark.dlperf("whole >= 100%", **SHORT)
@pytest.mark.parametrize("target", [tag, worse])
def test_it(dlperf, target):
    dlperf(target, TAGGED)
"""
    )

    result.assert_outcomes(passed=1, failed=1)


def test_labels_that_end_before_the_answers(run: Run) -> None:
    """The row, both lengths and what to do; no traceback of ours."""
    result = run(
        TAGGING
        + """
@pytest.mark.dlperf(**SHORT)
def test_it(dlperf):
    labels = Ragged([np.zeros(len(row) + 1, int) for row in TOKENS])
    dlperf(tag, (TAGGED[0], labels))
"""
    )

    result.assert_outcomes(failed=1)
    assert_no_frame_of_ours(result)
    said = text(result)
    assert re.search(r"row \d+: 12 labels, but the answer has 11 positions", said)
    assert "cut them as the target cuts its rows" in said
