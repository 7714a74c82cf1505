"""Fixtures of the plugin; every one can be overridden in a conftest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.errors import BaselineError, UsageError
from pytest_dlperf.pytest_plugin.collection import PASSED, PLANS, plan_of
from pytest_dlperf.pytest_plugin.pytest_benchmark import metadata_about
from pytest_dlperf.pytest_plugin.report_transport import load_records
from pytest_dlperf.pytest_plugin.session import KEY
from pytest_dlperf.pytest_plugin.tuning import STUDIES, report_studies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.data.digits import ReferenceData
    from pytest_dlperf.pytest_plugin.dlperf import Dlperf
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.model_cache import Trained, TrainingSettings


@pytest.fixture
def dlperf_devices(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The devices of this test, such as `("cpu:0",)`; empty without the option.

    `--dlperf-devices` and the marker's `devices=` make one test per device. Models are placed
    there; a callable has to place itself.
    """
    devices: tuple[str, ...] = getattr(request, "param", ())
    return devices


@pytest.fixture
def dlperf(
    request: pytest.FixtureRequest, dlperf_devices: tuple[str, ...], _dlperf_benchmark: object
) -> Iterator[Dlperf]:
    """Put a model under concurrent load and hold it to the budgets of the test's marker.

    `dlperf(target, data)` measures, records and judges; it raises if a budget is not held.
    """
    from pytest_dlperf.pytest_plugin.dlperf import Dlperf

    session = request.config.stash[KEY]
    item = request.node
    try:
        plan = (item.stash.get(PLANS, None) or plan_of(item)).on(dlperf_devices)
        _ = session.evaluator  # a run without a source of baselines ends here
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)
    if session.side is not None:
        plan = replace(plan, tries_padding=False)
    fixture = Dlperf(item.nodeid, plan, session, item.stash.get(STUDIES, None))
    yield fixture
    session.progress.clear()
    records: list[Record] = []
    try:
        records.extend(fixture.finish(passed=item.stash.get(PASSED, False)))
    except BaselineError as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        load_records(item, records, metadata_about(item, plan, _dlperf_benchmark))
        report_studies(item, fixture.tuned)


@pytest.fixture(scope="session")
def reference_data() -> ReferenceData:
    """Handwritten digits: `.train` and `.test` with `.inputs` and `.labels`, `.schema`, `.hash`."""
    from pytest_dlperf.data.digits import load_digits

    return load_digits()


@pytest.fixture(scope="session")
def _trained_reference(request: pytest.FixtureRequest, reference_data: ReferenceData) -> Trained:
    """The reference model with the record of its training; trained once, then cached."""
    from pytest_dlperf.clock import MonotonicClock
    from pytest_dlperf.training.reference_model import reference_model

    session = request.config.stash[KEY]
    session.progress.show("training the reference model", None)
    trained = reference_model(
        reference_data,
        session.cache_folder,
        session.warn,
        MonotonicClock(),
    )
    session.progress.clear()
    return trained


@pytest.fixture(scope="session")
def reference_model(_trained_reference: Trained) -> Model:
    """Dense 512 relu, Dense 10 softmax, trained on the reference data for 5 epochs."""
    return _trained_reference.model


@pytest.fixture(scope="session")
def reference_training(_trained_reference: Trained) -> TrainingSettings:
    """The training of the reference model: history, seconds, samples and steps per second."""
    return _trained_reference.training
