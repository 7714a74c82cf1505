"""`@pytest.mark.dlperf_sweep(...)` and `dlperf.tune(...)`, as a user of pytest sees them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes import FakeClock

PROGRAM = [
    sys.executable,
    "-c",
    "import sys; from pytest_dlperf.cli import main; sys.exit(main())",
    "tune",
]

NEVER = """
def build(units=8):
    raise AssertionError("never built")

"""
TUNES = "def test_it(dlperf):\n    dlperf.tune(build, DATA)\n"

DIGITS = """
import keras
import pytest
from pytest_dlperf import ClosedLoop, Recipe, Serving, Setup

def build(units=512):
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(units, "relu"), keras.layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

@pytest.mark.dlperf(scenario=ClosedLoop(clients=8), serving=Serving(1), duration="0.3s")
@pytest.mark.dlperf_sweep(
    "maximize throughput", "accuracy >= baseline - 5pt",
    knobs=("units=512,256", "max_batch_size=1,8"), search="grid", trials=3, finalists=1,
)
def test_it(dlperf, reference_data):
    tuned = dlperf.tune(build, reference_data, setup=Setup(recipe=Recipe(epochs=1)))
    assert [str(trial.configuration) for trial in tuned.trials] == [
        "units=512, max_batch_size=1",
        "units=256, max_batch_size=1",
        "units=512, max_batch_size=8",
    ]
    assert not any(trial.failed or trial.skipped for trial in tuned.trials)
"""

TWO_OUTPUTS = """
import keras
import numpy as np
import pytest
from pytest_dlperf import ClosedLoop, Examples, Recipe, Serving, Setup, Split

ROWS = np.random.default_rng(0).random((200, 4), np.float32)
LABELS = {"kind": (ROWS[:, 0] > 0.5).astype(int), "total": ROWS.sum(1, keepdims=True)}
DATA = Split(Examples(ROWS, LABELS), Examples(ROWS, LABELS))

def build(units=16):
    rows = keras.Input((4,))
    hidden = keras.layers.Dense(units, "relu")(rows)
    kind = keras.layers.Dense(2, "softmax", name="kind")(hidden)
    total = keras.layers.Dense(1, name="total")(hidden)
    model = keras.Model(rows, {"kind": kind, "total": total})
    model.compile("adam", {"kind": "sparse_categorical_crossentropy", "total": "mse"})
    return model

pytestmark = [
    pytest.mark.dlperf(scenario=ClosedLoop(clients=8), serving=Serving(1), duration="0.1s"),
    pytest.mark.dlperf_sweep(
        "maximize throughput", "accuracy >= baseline - 90pt",
        knobs=("units=16,8",), search="grid", trials=2, finalists=1,
    ),
]
QUICKLY = Setup(recipe=Recipe(epochs=1))

@pytest.mark.dlperf(output="kind")
def test_one_is_chosen(dlperf):
    tuned = dlperf.tune(build, DATA, setup=QUICKLY)
    assert [trial.failed + trial.skipped for trial in tuned.trials] == ["", ""]
    assert all("accuracy" in trial.metrics for trial in tuned.trials)

def test_none_is_chosen(dlperf):
    dlperf.tune(build, DATA, setup=QUICKLY)
"""


SIMULATED = """
def build(work=1.0, wrong=0):
    raise AssertionError("never built")

SPLIT = Split(Examples(*DATA), Examples(*DATA))

@pytest.mark.dlperf(scenario=ClosedLoop(clients=8), serving=Serving(8), duration="0.5s")
@pytest.mark.dlperf_sweep(
    "maximize throughput", {constraints} knobs=(knobs.argument("work", {works}),), trials=2,
    search="grid",
)
def test_it(dlperf):
    tuned = dlperf.tune(build, SPLIT)
    print(f"recommended: {{tuned.recommended}}")
"""


@pytest.fixture
def tuning(
    run: Callable[..., pytest.RunResult],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., pytest.RunResult]:
    """Tune models that only take time on the fake clock."""
    monkeypatch.setattr("pytest_dlperf.tuning.run.Pipeline", lambda *_, **__: Workshop(clock))

    def tuned(works: str, constraints: str = "", *options: str) -> pytest.RunResult:
        source = SIMULATED.format(works=works, constraints=constraints)
        return run(source, "-s", "--dlperf-seed=1", *options)

    return tuned


def test_the_better_one_is_recommended_with_a_verdict(
    tuning: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Half the work: the record of the comparison joins the session's, the table is shown."""
    result = tuning("1.0, 0.5", "'p99 <= 20ms',", "--dlperf-json=out.json")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*recommended: work=0.5", "*dlperf tune: *::test_it*"])
    (record,) = json.loads((pytester.path / "out.json").read_text())["measurements"]
    assert {judgement["budget"]: judgement["verdict"] for judgement in record["verdicts"]} == {
        "throughput > baseline": "PASS",
        "p99 <= 20ms": "PASS",
        "errors == 0": "PASS",
    }
    change = next(judgement["change"] for judgement in record["verdicts"] if judgement["change"])
    assert change["low"] > 1
    assert change["value"] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("works", "constraint", "outcome", "lines"),
    [
        (
            *("1.0, 2.0", "'p99 <= 20ms',", "passed"),
            ["*recommended: work=1.0", "recommended: the setup as it is*"],
        ),
        (
            *("1.0, 0.5", "'p99 <= 0.1ms',", "failed"),
            ["*p99 <= 0.1ms*FAIL*", "*dlperf tune: *::test_it*"],
        ),
    ],
    ids=["nothing is better", "even the default breaks the constraint"],
)
def test_the_default_is_recommended_unless_something_is_better(
    tuning: Callable[..., pytest.RunResult],
    works: str,
    constraint: str,
    outcome: str,
    lines: list[str],
) -> None:
    """The test is green with it, and red where it breaks a constraint; the table is shown."""
    result = tuning(works, constraint)

    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(lines)


def test_a_smoke_run_tries_two_and_compares_nothing(
    tuning: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """It keeps no trials either, since they are no figures to go by."""
    result = tuning("1.0, 0.5, 0.25", "", "--dlperf-quick")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*2 configurations measured*", "*a smoke run compares nothing"])
    assert not (pytester.path / ".pytest_cache/d/dlperf/studies").exists()


def test_a_second_run_goes_on_with_the_trials_of_the_first(
    tuning: Callable[..., pytest.RunResult],
) -> None:
    """Unless another value of a knob makes it another study."""
    for works, resumes in (("1.0, 0.5", False), ("1.0, 0.5", True), ("1.0, 0.75", False)):
        resumed = "2 of them by an earlier run" in " ".join(tuning(works).outlines)
        assert resumed is resumes


def test_the_marker_is_documented(run: Callable[..., pytest.RunResult]) -> None:
    """`pytest --markers` tells what it takes."""
    result = run("", "--markers")

    result.stdout.fnmatch_lines(["@pytest.mark.dlperf_sweep(objective, [*]budgets, knobs=*"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("'maximize p99'", "p99 is better when lower"),
        ("'p99 <= 20ms'", "there is no objective"),
        ("'maximize throughput', trails=5", "takes no argument 'trails'"),
        ("'maximize throughput', knobs=('unit',)", "unknown knob 'unit'"),
        ("'maximize throughput', 'max_rate >= 1/s'", "tuning does not measure max_rate"),
    ],
)
def test_a_wrong_marker_is_said_at_collection(
    run: Callable[..., pytest.RunResult], marker: str, message: str
) -> None:
    """With file, line and test, before anything runs."""
    result = run(f"{NEVER}\n@pytest.mark.dlperf_sweep({marker})\n{TUNES}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.re_match_lines([r"ERROR: test_module.py:\d+: test_it: .*"])
    assert message in result.stderr.str()


def test_budgets_of_the_dlperf_marker_are_constraints(run: Callable[..., pytest.RunResult]) -> None:
    """So one that tuning does not measure is refused there too."""
    markers = "@pytest.mark.dlperf('max_rate >= 1/s')\n@pytest.mark.dlperf_sweep('minimize p99')"
    result = run(f"{NEVER}\n{markers}\n{TUNES}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "tuning does not measure max_rate" in result.stderr.str()


def test_a_marker_without_the_fixture_is_said_at_collection(
    run: Callable[..., pytest.RunResult],
) -> None:
    """A test that could never tune is not green."""
    result = run("@pytest.mark.dlperf_sweep('maximize throughput')\ndef test_it(): pass")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "it has a dlperf_sweep marker, but never tunes" in result.stderr.str()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "@pytest.mark.dlperf_sweep('maximize throughput')\ndef test_it(dlperf): pass",
            "dlperf_sweep marker, but dlperf.tune(...) tuned nothing",
        ),
        (f"{NEVER}{TUNES}", "the test has no dlperf_sweep marker"),
    ],
    ids=["no call", "no marker"],
)
def test_marker_and_call_need_each_other(
    run: Callable[..., pytest.RunResult], source: str, message: str
) -> None:
    """A test with only one of them is red, and the message names the other."""
    result = run(source)

    result.assert_outcomes(failed=1)
    assert message in result.stdout.str()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("build, DATA", "expected an object with .train and .test"),
        ("build, SPLIT, setup=5", "dlperf.tune(setup=5)"),
        ("build, SPLIT, knobs=('layers',)", "build() takes no layers"),
        ("5, SPLIT", "expected a function that builds a model"),
        ("build, SPLIT, name=5", "name=5"),
    ],
)
def test_a_wrong_call_fails_with_what_was_expected(
    run: Callable[..., pytest.RunResult], call: str, message: str
) -> None:
    """No traceback of ours: the user's line, and the sentence."""
    result = run(
        f"""
{NEVER}
SPLIT = Split(Examples(*DATA), Examples(*DATA))

@pytest.mark.dlperf_sweep("maximize throughput", knobs=("units",), search="random", trials=2)
def test_it(dlperf):
    dlperf.tune({call})
"""
    )

    result.assert_outcomes(failed=1)
    assert message in result.stdout.str()
    assert "pytest_dlperf/tuning/" not in result.stdout.str()


def test_knobs_of_a_conftest_have_names(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    """The hook's knobs may be named; what is no knob is refused with its place."""
    source = f"""
{NEVER}
@pytest.mark.dlperf_sweep("maximize throughput", knobs=("colour",))
def test_it(dlperf):
    pass
"""
    pytester.makeconftest(
        """
from pytest_dlperf import Knob

def pytest_dlperf_knobs():
    return [Knob("colour", ("red", "green"), "model", lambda setup, value: setup)]
"""
    )
    run(source, "--collect-only").assert_outcomes()

    pytester.makeconftest("def pytest_dlperf_knobs(): return 'colour'")
    result = run(source)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "pytest_dlperf_knobs returned 'colour'" in result.stderr.str()


@pytest.mark.subprocess
def test_the_program_says_when_there_is_nothing_to_tune(
    pytester: pytest.Pytester,
) -> None:
    """No test with the marker: status 2, and what to look up."""
    pytester.makepyfile("def test_it(): pass")

    result = pytester.run(*PROGRAM)

    assert result.ret == 2
    result.stdout.fnmatch_lines(["no test here has a marker @pytest.mark.dlperf_sweep*"])


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--trials", "1"], "--trials 1"),
        (["--seed", "-1"], "--seed -1"),
        (["--json", "."], "--json . is a folder"),
        (["--search", "greedy"], "invalid choice: 'greedy'"),
    ],
)
def test_the_program_refuses_what_makes_no_sense(
    pytester: pytest.Pytester, given: list[str], message: str
) -> None:
    """Status 2 and one sentence, before pytest is started."""
    result = pytester.run(*PROGRAM, *given)

    assert result.ret == 2
    assert message in result.stderr.str()


@pytest.mark.subprocess
@pytest.mark.tensorflow
def test_a_tiny_model_is_tuned(pytester: pytest.Pytester) -> None:
    """Three configurations of two trainings: a table, a record with a verdict, and JSON."""
    pytester.makepyfile(test_module=DIGITS)
    (pytester.path / "pytest.ini").write_text("[pytest]\ndlperf_json = out.json\n")

    result = pytester.run(*PROGRAM, "--json", "tuned.json", "--seed", "0")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*dlperf tune: *::test_it*", "As code:"])
    folder = pytester.path / ".pytest_cache/d/dlperf"
    assert sum(path.is_dir() for path in (folder / "tuned").iterdir()) == 2
    (record,) = json.loads((pytester.path / "out.json").read_text())["measurements"]
    assert {"train.time", "model_size", "throughput"} <= {*record["metrics"]}
    assert record["verdicts"]
    (study,) = json.loads((pytester.path / "tuned.json").read_text())["studies"]
    assert study["resumed"] == 0
    assert len(study["trials"]) == 3


@pytest.mark.subprocess
@pytest.mark.tensorflow
def test_labels_of_several_outputs(pytester: pytest.Pytester) -> None:
    """Each setup learns them all; the chosen output has the accuracy, and one must be chosen."""
    pytester.makepyfile(test_module=TWO_OUTPUTS)

    # A smoke run, which tries two and compares nothing.
    result = pytester.runpytest_subprocess("--dlperf-quick")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*output='kind' names the one that the labels belong to*"])
