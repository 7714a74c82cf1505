"""OpenMetrics text, as its readers parse it."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import prometheus_client.parser
import pytest
from builders import counted, estimate, make_judgement, make_measurement, make_record
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics

from pytest_dlperf.metrics import METRICS, define, users_metric
from pytest_dlperf.report.openmetrics import openmetrics_text
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

ALL = {name: estimate(2.0, 0.1) for name in METRICS}
RECORD = make_record(
    make_judgement(Verdict.FAIL), measurement=make_measurement(ALL, test="a.py::test_it")
)
NAMED = make_record(
    measurement=make_measurement({"p99": counted(0.5)}, test="a.py::test_it", name="warm")
)

READERS = [
    pytest.param(openmetrics.text_string_to_metric_families, id="OpenMetrics"),
    pytest.param(prometheus_client.parser.text_string_to_metric_families, id="Prometheus"),
]


@pytest.mark.parametrize("read", READERS)
def test_both_parsers_read_it(read: Callable[[str], Iterable[Metric]]) -> None:
    """Every metric is a gauge with its base unit in its name, and the ends of its interval."""
    families = {family.name: family for family in read(openmetrics_text([RECORD, NAMED]))}

    assert {family.type for family in families.values()} == {"gauge"}
    assert all(family.documentation for family in families.values())
    values = {
        (name, sample.labels.get("name", "")): sample.value
        for name, family in families.items()
        for sample in family.samples
    }
    assert values["dlperf_throughput_per_second", ""] == 2.0
    assert values["dlperf_throughput_low_per_second", ""] == 1.8
    assert values["dlperf_throughput_high_per_second", ""] == 2.2
    assert values["dlperf_p99_9_seconds", ""] == 2.0
    assert values["dlperf_accuracy_ratio", ""] == 2.0
    assert values["dlperf_peak_memory_bytes", ""] == 2.0
    assert values["dlperf_loss", ""] == 2.0
    assert values["dlperf_p99_seconds", "warm"] == 0.5
    assert ("dlperf_p99_low_seconds", "warm") not in values
    assert len(families) == 3 * len(METRICS) + 1


def test_labels_stay_the_same_from_commit_to_commit() -> None:
    """Test, name and scenario; empty ones are left out; the verdict has its own gauge."""
    samples = [
        sample
        for family in openmetrics.text_string_to_metric_families(openmetrics_text([RECORD, NAMED]))
        for sample in family.samples
    ]

    always = {"test": "a.py::test_it", "scenario": "ClosedLoop(clients=64)"}
    assert {tuple(sorted(s.labels)) for s in samples if s.name == "dlperf_p99_seconds"} == {
        ("scenario", "test"),
        ("name", "scenario", "test"),
    }
    verdicts = [(s.labels, s.value) for s in samples if s.name == "dlperf_verdict"]
    assert verdicts == [
        ({**always, "verdict": "FAIL"}, 1.0),
        ({**always, "name": "warm", "verdict": "PASS"}, 1.0),
    ]


def test_units() -> None:
    """OpenMetrics has the unit as metadata too."""
    families = openmetrics.text_string_to_metric_families(openmetrics_text([RECORD]))

    units = {family.name: family.unit for family in families}
    assert units["dlperf_throughput_per_second"] == "per_second"
    assert units["dlperf_compile_time_seconds"] == "seconds"
    assert not units["dlperf_loss"]


def test_textfile_collector() -> None:
    """node_exporter's textfile collector refuses timestamps and types that it does not know."""
    lines = openmetrics_text([RECORD, NAMED]).splitlines()

    samples = [line for line in lines if not line.startswith("#")]
    assert samples
    assert all(re.fullmatch(r"[a-z0-9_]+\{.*\} [0-9.e+-]+", line) for line in samples)
    types = {line.split()[-1] for line in lines if line.startswith("# TYPE")}
    assert types == {"gauge"}


def gitlab(text: str) -> dict[str, str]:
    """A metrics report as GitLab reads it.

    As `Gitlab::Ci::Parsers::Metrics::Generic` does: without what follows a `#`, a line is split
    as a shell would, and the first two words are name and value.
    """
    values = {}
    for line in text.splitlines():
        words = shlex.split(re.sub("#.*$", "", line))
        if len(words) > 1:
            values[words[0]] = words[1]
    return values


def test_gitlab_reads_each_value() -> None:
    """A blank in a label does not end the name."""
    measurement = make_measurement({"p99": counted(0.5)}, test="a.py::test_it[a b]", name="x y")

    values = gitlab(openmetrics_text([RECORD, make_record(measurement=measurement)]))

    scenario = "scenario=ClosedLoop(clients=64)"
    assert values[f"dlperf_p99_seconds{{test=a.py::test_it,{scenario}}}"] == "2.0"
    assert values[f"dlperf_p99_seconds{{test=a.py::test_it[a b],name=x y,{scenario}}}"] == "0.5"


@pytest.mark.parametrize("read", READERS)
@given(name=st.text(max_size=20))
def test_any_text_is_a_label(read: Callable[[str], Iterable[Metric]], name: str) -> None:
    """Quotes, line ends and backslashes come back as they were."""
    measurement = make_measurement({"p99": counted(0.5)}, name=name)

    (p99, _) = read(openmetrics_text([make_record(measurement=measurement)]))

    assert p99.samples[0].labels.get("name", "") == name


def test_names_that_are_no_unicode() -> None:
    """A file name of stray bytes has a label that can be written."""
    measurement = make_measurement({"p99": counted(0.5)}, test="\udcff.py::test_it")

    text = openmetrics_text([make_record(measurement=measurement)])

    (p99, _) = openmetrics.text_string_to_metric_families(text)
    assert p99.samples[0].labels["test"] == "\\udcff.py::test_it"
    text.encode()


def test_a_smoke_run_has_no_speeds() -> None:
    """Its speeds are not valid."""
    families = openmetrics.text_string_to_metric_families(
        openmetrics_text([make_record(measurement=make_measurement(ALL), quick=True)])
    )

    names = {family.name for family in families}
    assert {"dlperf_accuracy_ratio", "dlperf_errors_ratio", "dlperf_verdict"} <= names
    assert not [name for name in names if "throughput" in name or "p99" in name]


@pytest.mark.parametrize("read", READERS)
def test_no_measurements(read: Callable[[str], Iterable[Metric]]) -> None:
    """The file is complete without measurements too."""
    assert list(read(openmetrics_text([]))) == []
    assert openmetrics_text([]) == "# EOF\n"


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("read", READERS)
def test_names_of_metrics(read: Callable[[str], Iterable[Metric]]) -> None:
    """Both formats allow the names of training, with a goal, and of users."""
    define(users_metric("MRR10", "share", "higher", 0.01))
    names = ("train.time", "train.time_to_accuracy(99.5%)", "MRR10")
    record = make_record(measurement=make_measurement({name: counted(0.5) for name in names}))

    families = {family.name: family for family in read(openmetrics_text([record]))}

    assert families.keys() == {
        "dlperf_train_time_seconds",
        "dlperf_train_time_to_accuracy_99_5_seconds",
        "dlperf_MRR10_ratio",
        "dlperf_verdict",
    }
