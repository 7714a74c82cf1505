"""Sessions: what a stored baseline predicts for today, and how often that is wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.statistics.machine_speed import follow, logs_of
from pytest_dlperf.statistics.pace import Pace
from pytest_dlperf.statistics.prediction import (
    Prediction,
    Session,
    contrast,
    reference_change,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

pytestmark = pytest.mark.simulation

_NOISE = 0.02
_FINITE = st.floats(-5, 5)
_SESSIONS = st.lists(
    st.tuples(_FINITE, st.floats(0, 1), st.tuples(_FINITE, _FINITE)), min_size=1, max_size=12
)


def _sessions(
    costs: Sequence[float], error: float = 0.0, yardsticks: Sequence[float] | None = None
) -> list[Session]:
    if yardsticks is None:
        return [Session(cost, error) for cost in costs]
    return [Session(cost, error, _pace(log)) for cost, log in zip(costs, yardsticks, strict=True)]


def _pace(compute: float, memory: float | None = None) -> Pace:
    """Of logarithms; of one, both parts are alike."""
    return Pace(math.exp(compute), math.exp(compute if memory is None else memory))


def _simulated(
    sessions: int, prior: float, runs: int, error: float = 0.0, yardstick: float | None = None
) -> list[Prediction]:
    """Predictions for unchanged code on a machine whose sessions differ by 2 %.

    With a yardstick, the machine's own speed varies by 5 % more, and the yardstick shows it with
    a noise as given.
    """
    random = np.random.default_rng(sessions)
    predictions = []
    for _ in range(runs):
        costs = random.normal(0, _NOISE, sessions + 1) + random.normal(0, error, sessions + 1)
        shown = None
        if yardstick is not None:
            machine = random.normal(0, 0.05, sessions + 1)
            costs += machine
            shown = (machine + random.normal(0, yardstick, sessions + 1)).tolist()
        *history, now = _sessions(costs.tolist(), error, shown)
        predictions.append(predict(history, now, prior))
    return predictions


def predict(history: Sequence[Session], now: Session, prior: float) -> Prediction:
    """The contrast of one session with those before it."""
    return contrast(history, [now], prior)


def _failed(predictions: Sequence[Prediction], alpha: float) -> float:
    return float(np.mean([prediction.low(alpha) > 0 for prediction in predictions]))


def test_one_session_by_hand() -> None:
    """After one session the prior alone says what sessions differ by: 5 %, times root two."""
    prediction = predict([Session(1.0, 0.03)], Session(1.1, 0.04), 0.05)

    spread = math.sqrt(2 * 0.05**2 + 0.03**2 + 0.04**2)
    assert (prediction.loss, prediction.spread, prediction.freedom) == pytest.approx(
        (0.1, spread, 4)
    )
    assert prediction.low(0.01) == pytest.approx(0.1 - stats.t.ppf(0.99, 4) * spread)
    assert prediction.high(0.05) == pytest.approx(0.1 + stats.t.ppf(0.95, 4) * spread)
    assert (prediction.estimate().low, prediction.estimate().high) == pytest.approx(
        stats.t.interval(0.95, 4, 0.1, spread)
    )


def test_sessions_that_agree_too_well() -> None:
    """However well a few sessions agree, the noise between them is taken to be half a percent."""
    prediction = predict(_sessions([1.0] * 30), Session(1.0, 0.0), 0.0)
    assert prediction.spread == pytest.approx(0.005 * math.sqrt(1 + 1 / 30))


@given(st.lists(_FINITE, min_size=1, max_size=20), _FINITE, st.floats(0, 1), st.floats(0, 1))
def test_a_prediction_is_an_interval(
    costs: list[float], now: float, error: float, prior: float
) -> None:
    """The ends enclose the loss, wider where less may go wrong."""
    prediction = predict(_sessions(costs, error), Session(now, error), prior)
    assert prediction.spread > 0
    assert (
        prediction.low(0.001)
        < prediction.low(0.01)
        < prediction.loss
        < prediction.high(0.05)
        < prediction.high(0.01)
    )


@given(st.integers(1, 30))
def test_errors_of_sessions_widen_it(sessions: int) -> None:
    """A session that was itself measured badly is held against the history with less."""
    history = _sessions([0.0] * sessions, 0.01)
    sure, unsure = (predict(history, Session(0.1, error), 0.05) for error in (0.01, 0.2))
    assert unsure.loss == sure.loss
    assert unsure.spread > 0.2 > sure.spread


@pytest.mark.parametrize(
    ("sessions", "least", "most"), [(1, 0.0, 0.002), (8, 0.003, 0.011), (30, 0.005, 0.014)]
)
def test_unchanged_code_fails_at_alpha(sessions: int, least: float, most: float) -> None:
    """With the right prior, 1 % of sessions fail at an alpha of 1 %, fewer after few sessions."""
    for error in (0.0, _NOISE):
        assert least <= _failed(_simulated(sessions, _NOISE, 4000, error), 0.01) <= most


@pytest.mark.parametrize(
    ("sessions", "least", "most"), [(1, 0.023, 0.038), (8, 0.013, 0.028), (30, 0.007, 0.017)]
)
def test_a_prior_half_as_large(sessions: int, least: float, most: float) -> None:
    """A prior too small by two lets up to 3 % fail instead of 1 %, until sessions outvote it."""
    assert least <= _failed(_simulated(sessions, _NOISE / 2, 4000), 0.01) <= most


@pytest.mark.parametrize(("sessions", "least"), [(1, 0.0), (8, 0.0), (30, 0.001)])
def test_a_prior_twice_as_large(sessions: int, least: float) -> None:
    """A prior too large by two only costs power: fewer than half of alpha fail."""
    assert least <= _failed(_simulated(sessions, 2 * _NOISE, 4000), 0.01) <= 0.005


def test_a_loss_of_the_visible_size_is_found() -> None:
    """Unchanged code made worse by the width of its interval fails in about 95 % of sessions."""
    failed = [
        prediction.low(0.01) + (prediction.high(0.05) - prediction.low(0.01)) > 0
        for prediction in _simulated(30, _NOISE, 2000)
    ]
    assert 0.93 <= float(np.mean(failed)) <= 0.97


def _widths(make: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> tuple[float, float]:
    """Median spread with and without a yardstick, made from what the metric's sessions were."""
    random = np.random.default_rng(3)
    spreads = []
    for _ in range(200):
        costs = random.normal(0, 0.05, 21)
        yardsticks = make(costs) + random.normal(0, 0.01, 21)
        *history, now = _sessions(costs.tolist(), 0.0, yardsticks.tolist())
        *plain, plainly = _sessions(costs.tolist())
        spreads.append((predict(history, now, 0.02).spread, predict(plain, plainly, 0.02).spread))
    with_it, without = np.median(spreads, axis=0).tolist()
    return with_it, without


def test_a_yardstick_is_worth_what_it_shows() -> None:
    """One that follows the machine halves the spread; an unrelated one costs a few percent."""
    related, without = _widths(lambda costs: costs)
    assert related < without / 2
    unrelated, without = _widths(np.zeros_like)
    assert without * 0.95 < unrelated < without * 1.1


@pytest.mark.parametrize(("sessions", "noise"), [(8, 0.0), (15, 0.01), (30, 0.01)])
def test_unchanged_code_on_a_machine_that_varies(sessions: int, noise: float) -> None:
    """With a yardstick, 1 % of sessions fail at 1 %, although the machine varies by 5 %."""
    assert _failed(_simulated(sessions, _NOISE, 3000, yardstick=noise), 0.01) <= 0.016


def test_like_is_compared_with_like() -> None:
    """A yardstick that any session lacks, or this one, is left out of all."""
    history = [Session(1.0, 0.01, _pace(0.5)), Session(1.1, 0.01), Session(1.2, 0.01, _pace(0.7))]
    plain = [Session(session.cost, session.error) for session in history]
    whole = [Session(session.cost, session.error, _pace(0.5)) for session in history]
    wanted = predict(plain, Session(1.3, 0.01), 0.05)

    assert predict(history, Session(1.3, 0.01, _pace(0.9)), 0.05) == wanted
    assert predict(whole, Session(1.3, 0.01), 0.05) == wanted


def test_a_yardstick_that_never_changed() -> None:
    """It says nothing about its weight: of a change today three quarters count, within a half."""
    history = _sessions(np.linspace(0, 0.1, 20).tolist(), 0.0, [0.5] * 20)
    then, now = (predict(history, Session(0.2, 0.0, _pace(log)), 0.05) for log in (0.5, 0.6))
    assert (then.loss, now.loss) == pytest.approx((0.15, 0.15 - 0.075))
    assert now.spread == pytest.approx(math.hypot(then.spread, 0.05))


def test_reference_change() -> None:
    """How much slower the machine is: the yardstick's cost over its geometric mean so far."""
    history = _sessions([0, 0], 0.0, [math.log(2), math.log(8)])
    assert reference_change(history, Session(0.0, 0.0, Pace(5.0, 5.0))) == pytest.approx(1.25)
    assert reference_change(history, Session(0.0, 0.0, Pace(8.0, 2.0))) == pytest.approx(1.0)
    assert reference_change(history, Session(0.0, 0.0)) is None
    assert reference_change([*history, Session(0.0, 0.0)], history[0]) is None
    assert reference_change([], history[0]) is None
    assert reference_change(history) is None
    present = [Session(0.0, 0.0, Pace(times, times)) for times in (1, 16)]
    assert reference_change(history, *present) == pytest.approx(1.0)


def test_what_cannot_be_predicted() -> None:
    """An empty history and an invalid noise are refused."""
    now = Session(1.0, 0.01)
    with pytest.raises(ValueError, match="at least one"):
        predict([], now, 0.05)
    for prior in (-0.01, math.inf, math.nan):
        with pytest.raises(ValueError, match="noise between sessions"):
            predict([now], now, prior)


@pytest.mark.parametrize(
    ("cost", "error", "wrong"),
    [
        (math.nan, 0.0, "cost"),
        (math.inf, 0.0, "cost"),
        (0.0, -0.1, "error"),
        (0.0, math.nan, "error"),
        (0.0, math.inf, "error"),
    ],
)
def test_what_is_no_session(cost: float, error: float, wrong: str) -> None:
    """What is not finite never gets into a history."""
    with pytest.raises(ValueError, match=f"a session's {wrong}"):
        Session(cost, error)


@pytest.mark.parametrize(("sessions", "least", "most"), [(1, 4, 4), (8, 1.5, 3), (30, 1.1, 1.4)])
def test_the_prior_is_outvoted(sessions: int, least: float, most: float) -> None:
    """A prior four times as large makes one session's spread so, and that of 30 little larger."""
    costs = np.random.default_rng(0).normal(0, _NOISE, sessions).tolist()
    small, large = (
        predict(_sessions(costs), Session(0.0, 0.0), prior).spread
        for prior in (_NOISE / 2, _NOISE * 2)
    )
    assert least - 1e-9 <= large / small <= most + 1e-9


@given(_SESSIONS, st.floats(0, 1), st.booleans())
def test_a_contrast_with_one_session_is_a_prediction(
    history: list[tuple[float, float, tuple[float, float]]],
    prior: float,
    with_yardsticks: bool,  # noqa: FBT001 - drawn
) -> None:
    """With one session on the right it is what a stored baseline predicts, spelt out here."""
    *sessions, present = (
        Session(y, e, _pace(*r) if with_yardsticks else None) for y, e, r in (*history, history[0])
    )

    prediction = contrast(sessions, [present], prior)

    m, k = len(sessions), len(sessions) - 1
    y, errors = (np.array([getattr(one, name) for one in sessions]) for name in ("cost", "error"))
    then, now = np.zeros((m, 2)), np.zeros((1, 2))
    if with_yardsticks:
        then, now = (logs_of([_pace(*r) for *_, r in side]) for side in (history, history[:1]))
    squares = float(np.mean(np.append(errors, present.error) ** 2))
    noise = math.sqrt(prior**2 + squares)
    following = follow([y, np.array([present.cost])], [then, now], noise=noise, worth=4)
    z = y - following.expected(then)
    left = float(((z - z.mean()) ** 2).sum()) + following.pull
    shown = max(0.0, left - k * float(np.mean(errors**2)))
    variance = max((4 * prior**2 + shown) / (4 + k), 0.005**2)
    unsure = following.variance(now[0] - then.mean(axis=0))
    within = present.error**2 + (errors**2).sum() / m**2
    loss = present.cost - float(following.expected(now)[0]) - z.mean()
    assert prediction.loss == pytest.approx(loss, rel=1e-9, abs=1e-9)
    assert prediction.spread == pytest.approx(math.sqrt(variance * (1 + 1 / m) + unsure + within))
    assert prediction.freedom == 4 + k


def test_a_yardstick_that_moved_by_a_fifth() -> None:
    """What is not known of the following widens the interval: 10 % of 20 %, and of a difference."""
    history = [Session(0.0, 0.0, _pace(0.0))]
    moved, apart, still = (
        predict(history, Session(0.0, 0.0, pace), 0.03)
        for pace in (_pace(0.2), _pace(0.2, -0.2), _pace(0.0))
    )
    assert (still.loss, moved.loss, apart.loss) == pytest.approx((0.0, -0.15, 0.0))
    assert still.spread == pytest.approx(0.03 * math.sqrt(2))
    assert moved.spread == apart.spread == pytest.approx(math.hypot(still.spread, 0.1))


def test_a_common_factor_cancels_with_many_sessions() -> None:
    """Where the machine is all that varies, 20 sessions show it, and nothing is left of it."""
    machine = np.random.default_rng(0).normal(0, 0.1, 20).tolist()
    history = _sessions([2 + factor for factor in machine], 0.0, machine)

    prediction = predict(history, Session(2.0 + 0.3, 0.0, _pace(0.3)), 0.01)

    assert prediction.loss == pytest.approx(0.0, abs=1e-3)


def test_a_contrast_by_hand() -> None:
    """Without a yardstick it is the two-sample t-interval with a pooled variance and a prior."""
    random = np.random.default_rng(0)
    then, now = random.normal(1, 0.04, 6), random.normal(1.1, 0.04, 4)

    prediction = contrast(_sessions(then.tolist(), 0.01), _sessions(now.tolist(), 0.02), 0.05)

    squares = 5 * np.var(then, ddof=1) + 3 * np.var(now, ddof=1)
    own = 5 * 0.01**2 + 3 * 0.02**2
    between = (4 * 0.05**2 + squares - own) / (4 + 8)
    within = 0.01**2 / 6 + 0.02**2 / 4
    assert prediction.loss == pytest.approx(now.mean() - then.mean())
    assert prediction.spread == pytest.approx(math.sqrt(between * (1 / 6 + 1 / 4) + within))
    assert prediction.freedom == 12


def test_a_contrast_whose_prior_is_what_sessions_show() -> None:
    """Then it is the textbook's, but for more degrees of freedom."""
    random = np.random.default_rng(0)
    then, now = random.normal(0, 0.04, 8), random.normal(0, 0.04, 8)
    pooled = math.sqrt((np.var(then, ddof=1) + np.var(now, ddof=1)) / 2)

    prediction = contrast(_sessions(then.tolist()), _sessions(now.tolist()), pooled)

    textbook = stats.ttest_ind(now, then)
    assert prediction.loss / prediction.spread == pytest.approx(textbook.statistic)


@given(
    _SESSIONS,
    _SESSIONS,
    st.floats(0, 1),
)
def test_sides_can_be_exchanged(
    then: list[tuple[float, float, float]], now: list[tuple[float, float, float]], prior: float
) -> None:
    """What one side lost the other has gained, with the same certainty."""
    left, right = ([Session(y, e, _pace(*r)) for y, e, r in side] for side in (then, now))
    there, back = contrast(left, right, prior), contrast(right, left, prior)
    assert there.loss == pytest.approx(-back.loss, rel=1e-9, abs=1e-9)
    assert there.spread == pytest.approx(back.spread, rel=1e-9)
    assert there.freedom == back.freedom


@pytest.mark.parametrize(("then", "now"), [(1, 1), (1, 8), (8, 8), (30, 5)])
def test_unchanged_code_on_both_sides_fails_at_alpha(then: int, now: int) -> None:
    """With the right prior no more than 1 % of comparisons of unchanged code have a FAIL at 1 %."""
    random = np.random.default_rng(then * 100 + now)
    predictions = []
    for _ in range(3000):
        costs = random.normal(0, _NOISE, then + now)
        sides = costs[:then].tolist(), costs[then:].tolist()
        predictions.append(contrast(*map(_sessions, sides), _NOISE))
    assert _failed(predictions, 0.01) <= 0.015


def test_more_sessions_on_the_right_see_more() -> None:
    """Eight sessions of the new code tell a loss that one does not."""
    history = _sessions([0.0, 0.01] * 4)
    one, eight = (contrast(history, _sessions([0.05, 0.06] * n), 0.02) for n in (1, 4))
    assert eight.spread < one.spread


def test_contrasts_that_cannot_be_drawn() -> None:
    """Each side needs a session."""
    for sides in (([], [Session(0.0, 0.0)]), ([Session(0.0, 0.0)], [])):
        with pytest.raises(ValueError, match="at least one"):
            contrast(*sides, 0.05)
