"""Fixtures; every one can be overridden in a conftest."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.collecting import PASSED, PLANS, plan_of
from pytest_dlperf.errors import BaselineError, DlperfWarning, UsageError
from pytest_dlperf.session import KEY, PROPERTY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.engine.keras import Model
    from pytest_dlperf.engine.reference_data import ReferenceData
    from pytest_dlperf.engine.training import Trained, Training
    from pytest_dlperf.measuring import Dlperf


@pytest.fixture
def dlperf_devices(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The devices of this test, such as `("cpu:0",)`; empty if none were asked for.

    `--dlperf-devices` and the marker's `devices=` make one test a device. The models of the test
    are put there; a callable that is measured has to see to it itself.
    """
    devices: tuple[str, ...] = getattr(request, "param", ())
    return devices


@pytest.fixture
def dlperf(request: pytest.FixtureRequest, dlperf_devices: tuple[str, ...]) -> Iterator[Dlperf]:
    """Put a model under concurrent load and hold it to the budgets of the test's marker.

    `dlperf(target, data)` measures, records and judges; it raises if a budget is not held.
    """
    from pytest_dlperf.core.record import record_to_json
    from pytest_dlperf.measuring import Dlperf

    session = request.config.stash[KEY]
    item = request.node
    try:
        plan = (item.stash.get(PLANS, None) or plan_of(item)).on(dlperf_devices)
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)
    if session.side is not None:
        plan = replace(plan, tries_padding=False)
    fixture = Dlperf(item.nodeid, plan, session.workplace)
    yield fixture
    session.progress.clear()
    # A test that is run again is another attempt, not another measurement.
    item.user_properties[:] = [kept for kept in item.user_properties if kept[0] != PROPERTY]
    try:
        for record in fixture.finish(passed=item.stash.get(PASSED, False)):
            item.user_properties.append((PROPERTY, json.dumps(record_to_json(record))))
    except BaselineError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def reference_data() -> ReferenceData:
    """Handwritten digits: `.train` and `.test` with `.inputs` and `.labels`, `.schema`, `.hash`."""
    from pytest_dlperf.engine.reference_data import load_digits

    return load_digits()


@pytest.fixture(scope="session")
def _trained_reference(request: pytest.FixtureRequest, reference_data: ReferenceData) -> Trained:
    """The reference model with the record of its training; trained once, then cached."""
    from pytest_dlperf.engine.clock import MonotonicClock
    from pytest_dlperf.engine.reference import reference_model

    session = request.config.stash[KEY]
    session.progress.show("training the reference model", None)
    trained = reference_model(
        reference_data,
        session.cache_folder,
        lambda text: warnings.warn(text, DlperfWarning, stacklevel=2),
        MonotonicClock(),
    )
    session.progress.clear()
    return trained


@pytest.fixture(scope="session")
def reference_model(_trained_reference: Trained) -> Model:
    """Dense 512 relu, Dense 10 softmax, trained on the reference data for 5 epochs."""
    return _trained_reference.model


@pytest.fixture(scope="session")
def reference_training(_trained_reference: Trained) -> Training:
    """How the reference model was trained: history, seconds, samples and steps a second."""
    return _trained_reference.training
