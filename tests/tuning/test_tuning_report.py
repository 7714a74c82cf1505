"""A study as text and JSON."""

from __future__ import annotations

import json

from builders import estimate, make_judgement
from studies import a_finalist, a_knob, a_study, a_trial, trials_of

from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.tuning.configuration import configured
from pytest_dlperf.tuning.report import effect_cell, effect_lines, tuning_lines
from pytest_dlperf.tuning.result import Effect, Finalist, TrialResult, Tuned
from pytest_dlperf.tuning.result_json import tuning_json

UNITS = a_knob("units", 512, 128)
RUNTIME = a_knob("runtime", "tf.function", "an|odd_runtime*with`a_long_name", stage="serving")
KNOBS = (UNITS, RUNTIME)
BEST = configured(KNOBS, {"units": 128})


def study() -> Tuned:
    """One change at a time, one trial that failed, and one finalist."""

    def measure(values: object) -> dict[str, float | Estimate]:
        faster = 1.5 if "128" in str(values) else 1.0
        accuracy = 0.97 - 0.001 * (faster > 1)
        return {
            "throughput": estimate(60_000.0 * faster, 0.01),
            "accuracy": Estimate(accuracy, accuracy - 0.01, accuracy + 0.01),
            "train.time": estimate(3.0 / faster, 0.01),
        }

    trials = trials_of(KNOBS, ({}, {"units": 128}, {"runtime": RUNTIME.values[1]}), measure)
    both = configured(KNOBS, {"units": 128, "runtime": RUNTIME.values[1]})
    finalist = Finalist(
        BEST,
        Estimate(1.5, 1.4, 1.6),
        Verdict.PASS,
        (make_judgement(measured=estimate(90_000.0, 0.01), limit=60_000.0),),
        {"throughput": estimate(90_000.0, 0.01)},
        seconds=12.0,
    )
    return a_study([*trials, TrialResult(both, failed="diverged")], KNOBS, [finalist])


def test_the_whole_text() -> None:
    """The table, then what each knob was worth, then what to paste; 80 columns."""
    lines = list(tuning_lines(study()))
    places = [
        next(number for number, line in enumerate(lines) if line.startswith(start))
        for start in ("tests/test_tuning.py", "What each knob", "As code:", "As a marker:")
    ]

    assert places == sorted(places)
    assert max(map(len, lines)) <= 80
    assert '    setup = Setup(arguments={"units": 128, "runtime": "tf.function"})' in lines
    assert '        "throughput >= 81800/s",' in lines


def test_the_effects() -> None:
    """A line for each value: the change in percent or points, and its interval."""
    assert list(effect_lines(study())) == [
        "What each knob was worth, all else being equal (95 % intervals):",
        "",
        "                  throughput, %    accuracy, pt     training, %",
        "units, instead of 512",
        "  128                +50.0 ±2.1     -0.10 ±1.41      -33.3 ±0.9",
        "runtime, instead of tf.function",
        "  an|odd_runtime*with`a_long_name",
        "                           +0.0           +0.00            +0.0",
        "",
        "From pairs of trials that differ in this knob alone; the intervals allow for",
        "  the noise within trials, and between them where a value has several pairs.",
    ]


def test_effects_that_cannot_be_told() -> None:
    """A study of one trial says so instead of an empty table."""
    lines = list(effect_lines(a_study([a_trial(configured(KNOBS), {"throughput": 1.0})], KNOBS)))

    assert lines[-1] == "The trials do not tell."


def test_effect_cells() -> None:
    """From least squares with a mark; what is not known is a dash; what is huge is cut."""

    def effect(change: Estimate, basis: str = "pairs", metric: str = "throughput") -> Effect:
        return Effect("units", "128", "512", metric, change, basis, 1)  # type: ignore[arg-type]

    assert effect_cell(None) == "-"
    assert effect_cell(effect(Estimate(0.1, 0.05, 0.2), "least squares")) == "~+10.0 ±10.0"
    assert effect_cell(effect(counted(0.0), metric="accuracy")) == "+0.00"
    assert effect_cell(effect(Estimate(99.0, 1.0, 500.0))) == ">+1000 ±>1000"


def test_json() -> None:
    """Finite numbers and text only, with every trial, finalist, effect and the recommendation."""
    value = json.loads(json.dumps(tuning_json(study()), allow_nan=False))

    assert value["schema"] == 1
    assert value["goal"]["objective"] == "maximize throughput"
    assert [one["number"] for one in value["trials"]] == [1, 2, 3, 4]
    assert value["trials"][3]["failed"] == "diverged"
    assert value["trials"][1]["metrics"]["throughput"]["value"] == 90_000.0
    assert [one["front"] for one in value["trials"]] == [True, True, True, False]
    assert value["finalists"][0]["gain"] == {"value": 1.5, "low": 1.4, "high": 1.6}
    assert value["finalists"][0]["judgements"][0]["measured"]["value"] == 90_000.0
    assert value["recommended"]["trial"] == 2
    assert value["recommended"]["configuration"]["units"] == "128"
    assert value["recommended"]["improved"] is True
    assert "Setup(" in value["recommended"]["setup"]
    assert {one["knob"] for one in value["effects"]} == {"units", "runtime"}
    assert value["knobs"][0] == {"name": "units", "stage": "model", "values": ["512", "128"]}


def test_json_without_a_winner() -> None:
    """The setup without tuning is what is recommended then, by its number."""
    trials = [a_trial(configured(KNOBS), {"throughput": 1.0})]
    found = tuning_json(a_study(trials, KNOBS, []))

    assert found["recommended"]["trial"] == 1  # type: ignore[index]
    assert found["recommended"]["improved"] is False  # type: ignore[index]
    assert found["finalists"] == []


def test_a_finalist_of_which_nothing_came() -> None:
    """It has no gain, and its reason is there."""
    failed = a_finalist(BEST, 1.0)
    failed = Finalist(failed.configuration, None, Verdict.INVALID, reason="the side was lost")
    trials = [a_trial(configured(KNOBS), {"throughput": 1.0}), a_trial(BEST, {"throughput": 2.0})]
    tuned = a_study(trials, KNOBS, [failed])

    assert tuning_json(tuned)["finalists"][0]["gain"] is None  # type: ignore[index]
    assert "INVALID #2" in str(tuned)
    assert "throughput not compared; the side was lost" in " ".join(str(tuned).split())
