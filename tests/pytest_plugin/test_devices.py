"""One test a device: how tests are multiplied, skipped and refused, without TensorFlow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from plugin_projects import measuring, text

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets import local_devices as devices

if TYPE_CHECKING:
    from plugin_projects import Run

ONE = """
def test_it(dlperf, dlperf_devices):
    m = dlperf(identity, DATA, **SHORT)
    print("ran on", dlperf_devices, m.serving)
"""


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two CPUs; the list has an entry for each query of devices."""
    queries: list[str] = []

    def devices_here() -> tuple[str, ...]:
        queries.append("looked")
        return "cpu:0", "cpu:1"

    monkeypatch.setattr(devices, "devices_here", devices_here)
    return queries


def test_nothing_changes_without_the_option(run: Run, looks: list[str]) -> None:
    """No suffix, no devices, and no query of devices."""
    result = run(ONE, "-v", "-rP")

    result.stdout.fnmatch_lines(["*::test_it PASSED*", "ran on () Serving()"])
    assert looks == []


def test_each_test_runs_on_each_device(run: Run, looks: list[str]) -> None:
    """One test a device, named after it, its serving there; looked up once a session."""
    result = run(ONE + "def test_plain(): pass\n", "-v", "-rP", "--dlperf-devices=all")

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*test_it[[]cpu:0] PASSED*", "*test_it[[]cpu:1] PASSED*"])
    result.stdout.fnmatch_lines(
        [
            "ran on ('cpu:0',) Serving(devices=('cpu:0',))",
            "ran on ('cpu:1',) Serving(devices=('cpu:1',))",
        ]
    )
    assert looks == ["looked"]


def test_the_nearest_that_names_devices_wins(run: Run, pytester: pytest.Pytester) -> None:
    """Command line over marker over class over ini; an empty tuple asks for none."""
    pytester.makeini("[pytest]\ndlperf_devices = cpu:1\n")
    source = """
def test_ini(dlperf): pass

@pytest.mark.dlperf(devices="all")
class TestClass:
    def test_class(self, dlperf): pass

    @pytest.mark.dlperf(devices="cpu:0")
    def test_near(self, dlperf): pass

@pytest.mark.dlperf(devices=())
def test_none(dlperf): pass
"""

    def collected(*options: str) -> list[str]:
        lines = run(source, "--collect-only", "-q", *options).outlines
        return [line.rsplit("::", 1)[1] for line in lines if "::" in line]

    assert collected() == [
        "test_ini[cpu:1]",
        "test_class[cpu:0]",
        "test_class[cpu:1]",
        "test_near[cpu:0]",
        "test_none",
    ]
    names = ("test_ini", "test_class", "test_near", "test_none")
    assert collected("--dlperf-devices=cpu:1") == [f"{name}[cpu:1]" for name in names]


def test_an_absent_device_is_skipped(run: Run) -> None:
    """The reason names it and the present ones; fixtures are not set up."""
    source = """
@pytest.fixture(scope="module")
def model():
    raise AssertionError("made")

def test_it(model, dlperf): pass
"""
    result = run(source, "-rs", "-v", "--dlperf-devices=gpu,cpu:5")

    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*test_it[[]gpu] SKIPPED*", "*test_it[[]cpu:5] SKIPPED*"])
    result.stdout.fnmatch_lines(["*there is no gpu here, only cpu:0, cpu:1*"])
    result.stdout.fnmatch_lines(["*there is no cpu:5 here, only cpu:0, cpu:1*"])


def test_a_required_device_must_be_there(run: Run) -> None:
    """With `--dlperf-devices-required` the test of the absent device fails, the others run."""
    result = run(ONE, "--dlperf-devices=cpu:0,gpu", "--dlperf-devices-required")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_it[[]gpu]*", "there is no gpu here*"])


def test_unknown_words_stop_the_run(run: Run) -> None:
    """A misspelt device is a usage error before anything runs, from wherever it comes."""
    option = run(ONE, "--dlperf-devices=tpu")
    marker = run(measuring("devices='tpu'"))

    for result, spelt in (option, "--dlperf-devices"), (marker, "devices"):
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert f"{spelt}='tpu'" in text(result)


def test_a_serving_that_names_devices_keeps_them(run: Run, looks: list[str]) -> None:
    """Such a test is one test, on its own devices, whatever the command line says."""
    source = """
@pytest.mark.dlperf(serving=Serving(8, devices="cpu:1"))
def test_marker(dlperf):
    assert "cpu:1" in dlperf(identity, DATA, **SHORT).serving
"""
    result = run(source, "-v", "--dlperf-devices=cpu:0")

    result.stdout.fnmatch_lines(["*::test_marker PASSED*"])
    assert looks == []


def test_a_calls_serving(run: Run) -> None:
    """It runs on the test's device; a test named `[cpu:0]` measures nothing else."""
    source = """
def test_here(dlperf):
    m = dlperf(identity, DATA, **SHORT, serving=Serving(8))
    assert "cpu:0" in m.serving and "cpu:1" not in m.serving

def test_there(dlperf):
    dlperf(identity, DATA, **SHORT, serving=Serving(8, devices="cpu:1"))
"""
    result = run(source, "--dlperf-devices=cpu:0")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*in a test that is for cpu:0*", "*name devices in the marker's*"])


def test_devices_and_parameters(run: Run) -> None:
    """Both multiply; a test that parametrises the fixture by hand is left alone."""
    source = """
@pytest.mark.parametrize("units", [8, 16])
def test_both(dlperf, units): pass

@pytest.mark.parametrize("dlperf_devices", [("cpu:1",)], indirect=True, ids=["mine"])
def test_by_hand(dlperf, dlperf_devices):
    assert dlperf_devices == ("cpu:1",)
    assert "cpu:1" in dlperf(identity, DATA, **SHORT).serving
"""
    result = run(source, "-v", "--dlperf-devices=all")

    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*test_both[[]8-cpu:1]*", "*test_by_hand[[]mine] PASSED*"])


def test_the_fixture_can_be_overridden(run: Run, pytester: pytest.Pytester) -> None:
    """A conftest's devices are where the test runs; nonsense is an error in words."""
    source = """
def test_it(dlperf):
    assert "cpu:1" in dlperf(identity, DATA, **SHORT).serving
"""
    fixture = "import pytest\n@pytest.fixture\ndef dlperf_devices(): return {}\n"
    pytester.makeconftest(fixture.format("('cpu:1',)"))
    run(source).assert_outcomes(passed=1)

    pytester.makeconftest(fixture.format("'tpu'"))
    result = run(source)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'tpu' is no device*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_selecting_by_device(run: Run) -> None:
    """`-k` and node ids take the names of devices."""
    assert_one = {"passed": 1, "deselected": 1}
    run(ONE, "--dlperf-devices=all", "-k", "cpu:1").assert_outcomes(**assert_one)

    result = run(ONE, "--dlperf-devices=all", "-v", "test_module.py::test_it[cpu:1]")
    result.assert_outcomes(passed=1)


def test_baselines_are_kept_by_device(run: Run, pytester: pytest.Pytester) -> None:
    """Each device has a baseline of its own."""
    result = run(ONE, "--dlperf-devices=all", "--dlperf-update=new")

    result.assert_outcomes(passed=2)
    assert len(list(pytester.path.glob(".dlperf/baselines/*/*test_it[[]cpu*.json"))) == 2


@pytest.mark.subprocess
def test_devices_under_xdist(run: Run, pytester: pytest.Pytester) -> None:
    """Each worker finds the same tests, and the skips reach the controller."""
    pytester.makeconftest(
        "from pytest_dlperf.targets import local_devices\n"
        "local_devices.devices_here = lambda: ('cpu:0',)\n"
    )
    result = run(ONE, "-p", "xdist", "-n2", "--dlperf-quick", "--dlperf-devices=all,gpu", "-rs")

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*there is no gpu here, only cpu:0*"])


def test_the_cpu_is_split_before_anything_else(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--dlperf-logical-cpus` splits at the start of the session; without it nothing is split."""
    split: list[int] = []
    monkeypatch.setattr(devices, "split_cpu", split.append)

    run("def test_it(): pass").assert_outcomes(passed=1)
    assert split == []

    run("def test_it(): pass", "--dlperf-logical-cpus=2").assert_outcomes(passed=1)
    assert split == [2]


def test_a_cpu_that_cannot_be_split_any_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where TensorFlow runs already the run ends with a usage error in words."""

    def too_late(parts: int) -> None:
        raise UsageError(f"the CPU cannot be split into {parts} devices")

    monkeypatch.setattr(devices, "split_cpu", too_late)

    result = run("def test_it(): pass", "--dlperf-logical-cpus=2")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "the CPU cannot be split into 2 devices" in text(result)
    assert "Traceback" not in text(result)


@pytest.mark.parametrize(("theirs", "holds"), [(None, "true"), ("false", "false")])
def test_gpu_memory_grows(
    run: Run, monkeypatch: pytest.MonkeyPatch, theirs: str | None, holds: str
) -> None:
    """GPUs take memory as they need it, unless the environment says otherwise."""
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    if theirs is not None:
        monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", theirs)

    run("def test_plain(): pass")
    assert os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH") == theirs

    run(ONE)
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == holds
