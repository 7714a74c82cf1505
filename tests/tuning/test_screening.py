"""Screening: what one configuration comes to, good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, fake_instruments
from workshop import Workshop, argument, batch, study

from pytest_dlperf.errors import UsageError
from pytest_dlperf.tuning.configuration import Knob, configured
from pytest_dlperf.tuning.screening import Study, screened

if TYPE_CHECKING:
    from pytest_dlperf.tuning.configuration import Setup
    from pytest_dlperf.tuning.result import TrialResult


def tried(a_study: Study, chosen: dict[str, object], clock: FakeClock | None = None) -> TrialResult:
    """One configuration, screened."""
    clock = clock or FakeClock()
    configuration = configured(a_study.knobs, chosen)
    return screened(configuration, a_study, Workshop(clock), fake_instruments(clock))


def test_a_configuration_is_measured() -> None:
    """Eight clients and 2 ms a call: 4,000 a second, 2 ms; and what is known of its training.

    180 of 200 rows are answered rightly.
    """
    result = tried(
        study(argument("work", 1, 2), argument("wrong", 0, 20)), {"work": 2, "wrong": 20}
    )

    assert result.failed == result.skipped == ""
    assert result.metrics["throughput"].value == pytest.approx(4000, rel=0.01)
    assert result.metrics["p99"].value == pytest.approx(0.002, rel=0.05)
    assert result.metrics["accuracy"].value == pytest.approx(0.9)
    assert result.metrics["train.time"].value == 1.0
    assert result.metrics["model_size"].value == 1000.0
    assert result.rows is not None
    assert result.rows.right.sum() == 540
    assert result.seconds > 0.2


def test_serving_is_the_configurations() -> None:
    """Batches of one instead of eight: an eighth of the throughput."""
    result = tried(study(batch(8, 1)), {"batch": 1})

    assert result.metrics["throughput"].value == pytest.approx(1000, rel=0.02)


def test_one_that_diverges_is_a_failed_trial() -> None:
    """The reason is kept, on one line; there are no figures."""
    result = tried(study(argument("broken", "no", "yes")), {"broken": "yes"})

    assert result.failed.startswith("training diverged: the loss is nan in epoch 1 of 5")
    assert "\n" not in result.failed
    assert result.metrics == {}
    assert result.measured is None


def test_whatever_the_users_function_raises_is_a_failed_trial() -> None:
    """A build function that trips over a value ends this trial only."""
    clock = FakeClock()

    def trips(setup: Setup) -> None:
        del setup
        raise ZeroDivisionError("units=0")

    configuration = configured((argument("work", 1, 2),))
    result = screened(configuration, study(argument("work", 1, 2)), trips, fake_instruments(clock))

    assert result.failed == "ZeroDivisionError: units=0"


def test_one_whose_requests_go_wrong_is_a_failed_trial() -> None:
    """Speed without answers is none."""
    clock = FakeClock()

    class Failing(Workshop):
        def __call__(self, setup: Setup):  # noqa: ANN204 - as its base
            made = super().__call__(setup)
            calls = iter(range(10**9))

            def answer(rows: object) -> object:
                if next(calls) > 40:
                    raise OSError("no space left")
                return rows

            made.target.answer = answer
            return made

    configuration = configured((argument("work", 1, 2),))
    a_study = study(argument("work", 1, 2))
    result = screened(configuration, a_study, Failing(clock), fake_instruments(clock))

    assert "OSError" in result.failed
    assert "no space left" in result.failed


def test_what_does_not_go_together_is_skipped() -> None:
    """It is no trial: nothing is made, and the reason says which value."""

    def refuse(setup: Setup, value: object) -> Setup:
        if value == "no":
            raise UsageError("this goes with nothing", "choose another")
        return setup

    clock = FakeClock()
    workshop = Workshop(clock)
    a_study = study(Knob("odd", ("yes", "no"), "model", refuse))
    configuration = configured(a_study.knobs, {"odd": "no"})
    result = screened(configuration, a_study, workshop, fake_instruments(clock))

    assert "odd=no: this goes with nothing" in result.skipped
    assert result.failed == ""
    assert workshop.made == []
