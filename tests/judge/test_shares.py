"""Accuracy since a stored baseline: fixed weights by the rows, models trained anew by sessions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import ENVIRONMENT, REVISION, make_measurement, make_rows
from scipy import stats

from pytest_dlperf.judge.loss_evidence import AgreedLoss, MeasuredLoss, PairedLoss
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.judge.shares import loss_between_sessions, lost_share
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.baseline import BaselineEntry, accept
from pytest_dlperf.results.row_evidence import Rows
from pytest_dlperf.statistics.proportions import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.statistics.estimate import Decision

ACCURACY = metric_named("accuracy")
LIMITS = LossLimits(0.0, 0.01)


def session(right: NDArray[np.bool_]) -> Measurement:
    """A measurement of a model that has these rows right."""
    rows = len(right)
    metrics = {"accuracy": wilson(float(right.sum()), rows)}
    return make_measurement(metrics, rows=Rows("d", np.ones(rows, bool), right))


def stored(*sessions: NDArray[np.bool_]) -> BaselineEntry:
    """A baseline of these sessions, as a file holds it."""
    entry = accept(session(sessions[0]), ENVIRONMENT, REVISION)
    for right in sessions[1:]:
        entry = accept(session(right), ENVIRONMENT, REVISION, earlier=entry.sessions)
    return BaselineEntry.from_json(entry.to_json())


class Trainings:
    """Models that are trained anew: each has a quality of its own, and its own rows wrong.

    Args:
        differ: share of the rows that two of them do not have in common.
        spread: standard deviation of their accuracy, in shares of one.
    """

    def __init__(self, rows: int, differ: float, spread: float, seed: int) -> None:
        self._rows, self._differ, self._spread = rows, differ, spread
        self._random = np.random.default_rng(seed)
        self._base = np.arange(rows) < 0.9 * rows

    def model(self, loss: float = 0.0) -> NDArray[np.bool_]:
        """The rows that one of them has right; on average it loses some."""
        shift = self._random.normal(-loss, self._spread)
        right, edge = self._base.copy(), round(0.9 * self._rows)
        lost, won = (
            self._random.binomial(
                self._rows, min(0.09, max(0.0, self._differ / 4 + sign * shift / 2))
            )
            for sign in (-1, 1)
        )
        right[self._random.integers(0, edge, lost)] = False
        right[self._random.integers(edge, self._rows, won)] = True
        return right

    def decisions(self, sessions: int, count: int, loss: float = 0.0) -> list[Decision | None]:
        """What is decided at 1 % of so many baselines with so many sessions each."""
        return [
            lost_share(
                ACCURACY,
                session(self.model(loss)),
                _unwritten(*(self.model() for _ in range(sessions))),
            ).decision(LIMITS, 0.01, 0.01)
            for _ in range(count)
        ]


def _unwritten(*sessions: NDArray[np.bool_]) -> BaselineEntry:
    earlier = tuple(accept(session(right), ENVIRONMENT, REVISION).newest for right in sessions[:-1])
    return accept(session(sessions[-1]), ENVIRONMENT, REVISION, earlier=earlier)


@pytest.mark.simulation
@pytest.mark.parametrize("sessions", [1, 2, 8])
@pytest.mark.parametrize("spread", [0.002, 0.003])
@pytest.mark.parametrize("rows", [360, 1000, 10_000])
def test_models_trained_anew_rarely_fail(rows: int, spread: float, sessions: int) -> None:
    """Of 1,000 sessions of unchanged code at most 1.2 % FAIL, plus four standard deviations.

    By the rows alone (`repeats_answers` always true) it is 10 and 17 % of 10,000 rows.
    """
    decided = Trainings(rows, 0.03, spread, seed=rows).decisions(sessions, 1000)
    assert decided.count("FAIL") <= 12 + 4 * math.sqrt(12)


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("rows", "sessions", "loss", "least"),
    [(10_000, 1, 0.03, 160), (10_000, 2, 0.02, 140), (10_000, 8, 0.02, 190), (1000, 8, 0.04, 180)],
)
def test_losses_of_models_trained_anew_are_found(
    rows: int, sessions: int, loss: float, least: int
) -> None:
    """Of 200 losses, and none of these passes."""
    decided = Trainings(rows, 0.03, 0.003, seed=rows).decisions(sessions, 200, loss)
    assert decided.count("FAIL") >= least
    assert decided.count("PASS") <= 2


@pytest.mark.simulation
@pytest.mark.parametrize("sessions", [1, 2, 8])
@pytest.mark.parametrize("rows", [360, 10_000])
def test_a_loss_of_models_trained_anew_does_not_pass(rows: int, sessions: int) -> None:
    """A true loss of `detect` passes in 1 % at the most, plus four standard deviations."""
    decided = Trainings(rows, 0.03, 0.003, seed=rows).decisions(sessions, 1000, 0.01)
    assert decided.count("PASS") <= 10 + 4 * math.sqrt(10)


def _changed(right: NDArray[np.bool_], lost: int, won: int) -> NDArray[np.bool_]:
    now = right.copy()
    now[np.flatnonzero(right)[:lost]] = False
    now[np.flatnonzero(~right)[:won]] = True
    return now


BASE = np.arange(10_000) < 9500


def test_fixed_weights_are_judged_by_the_rows() -> None:
    """Two sessions with the same answers show that weights are fixed: then McNemar decides."""
    now, counts = session(_changed(BASE, 60, 20)), PairedLoss(60, 20, 10_000)
    assert lost_share(ACCURACY, now, stored(BASE, BASE)) == counts
    assert counts.decision(LIMITS, 0.01, 0.01) == "FAIL"
    for others in ((BASE,), (_changed(BASE, 3, 3), BASE)):
        evidence = lost_share(ACCURACY, now, stored(*others))
        assert isinstance(evidence, AgreedLoss)
        assert evidence.parts[0] == counts


def test_large_losses_fail_from_the_first_session_on() -> None:
    """One session does not show whether weights are fixed; a loss of 2 points is beyond that."""
    base = stored(BASE)
    for lost, decision in ((0, "PASS"), (100, None), (200, "FAIL")):
        now = session(_changed(BASE, lost, 0))
        assert lost_share(ACCURACY, now, base).decision(LIMITS, 0.01, 0.01) == decision


def test_a_few_other_rows_are_not_another_training() -> None:
    """Models that differ on a few rows differ by less than trainings do: numerics pass at once."""
    now = session(_changed(BASE, 3, 3))
    assert lost_share(ACCURACY, now, stored(BASE)).decision(LIMITS, 0.01, 0.01) == "PASS"


def test_files_without_fingerprints() -> None:
    """Where a file does not say that answers were the same, sessions decide too."""
    written = stored(BASE, BASE).to_json()
    for one in written["sessions"]:  # type: ignore[attr-defined]
        del one["answers"]
    base = BaselineEntry.from_json(written)
    assert isinstance(lost_share(ACCURACY, session(~BASE), base), AgreedLoss)


def test_other_rows_are_compared_by_intervals_and_sessions() -> None:
    """Without rows in common the intervals decide, at the rates that are asked for."""
    now = make_measurement({"accuracy": wilson(880, 1000)}, rows=make_rows([1] * 10, data="other"))
    base = stored(np.arange(1000) < 950)
    evidence = lost_share(ACCURACY, now, base)
    assert evidence.decision(LIMITS, 0.01, 0.01) == "FAIL"
    assert evidence.decision(LIMITS, 1e-7, 0.01) is None


def test_sessions_by_hand() -> None:
    """The prior counts as four degrees of freedom, beside those of the sessions."""
    got = loss_between_sessions([-0.95, -0.94, -0.96], -0.94, prior=0.005, error=0.0)
    variance = max((4 * 0.005**2 + 0.0002) / 6, 0.0002 / 2)
    assert got.loss == pytest.approx(0.01)
    assert got.spread == pytest.approx(math.sqrt(variance * (1 + 1 / 3)))
    assert got.freedom == 6
    alone = loss_between_sessions([-0.95], -0.94, prior=0.003, error=0.004)
    assert alone.spread == pytest.approx(0.005 * math.sqrt(2))
    assert alone.freedom == int(4 * (25 / 9) ** 2)


def test_no_spread_and_no_difference() -> None:
    """Sessions that cannot differ predict exactly, and nothing is lost."""
    got = loss_between_sessions([-0.95], -0.95, prior=0.0, error=0.0)
    assert (got.loss, got.low(0.01), got.high(0.01)) == (0, 0, 0)


def test_all_evidence_has_to_agree() -> None:
    """Proven, excluded and visible are those of the weakest part."""
    rows = PairedLoss(60, 20, 1000)
    between = MeasuredLoss(loss_between_sessions([-0.95], -0.93, prior=0.002, error=0.0))
    both = AgreedLoss((rows, between))
    assert both.proven(0.01) == min(rows.proven(0.01), between.proven(0.01))
    assert both.excluded(0.01) == max(rows.excluded(0.01), between.excluded(0.01))
    assert both.loss.low <= min(rows.loss.low, between.loss.low)
    assert both.decision(LossLimits(0.0, 0.01), 0.2, 0.2) == "FAIL"
    assert both.decision(LossLimits(0.0, 0.01), 0.001, 0.2) is None
    assert not both.improved(0.01)
    distance = both.visible(0.01)
    assert distance is not None
    t = stats.t.ppf(0.99, 4) * 0.002 * math.sqrt(2)
    assert distance == pytest.approx(t + 0.04 - 0.02)
