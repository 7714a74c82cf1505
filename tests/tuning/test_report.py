"""The Pareto table of a study."""

from __future__ import annotations

import json

import pytest
from builders import estimate, make_judgement
from studies import GOAL, a_finalist, a_knob, a_study, a_trial, trials_of

from pytest_dlperf.metrics import define, users_metric
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.tuning.configuration import Configuration, configured
from pytest_dlperf.tuning.goal import parse_goal
from pytest_dlperf.tuning.report import (
    columns_of,
    effect_cell,
    effect_lines,
    problems,
    shown_trials,
    table_lines,
    tuning_lines,
    with_interval,
)
from pytest_dlperf.tuning.result import Effect, Finalist, TrialResult, Tuned
from pytest_dlperf.tuning.result_json import tuning_json

UNITS = a_knob("units", 512, 128, 64, 32)


def of(units: int) -> Configuration:
    """A configuration."""
    return configured((UNITS,), {"units": units})


def trial(units: int, throughput: float, accuracy: float) -> TrialResult:
    """A trial with all that the table shows."""
    metrics = {
        "throughput": estimate(throughput, 0.021),
        "p99": estimate(64 / throughput, 0.05),
        "accuracy": Estimate(accuracy, accuracy - 0.012, accuracy + 0.008),
        "model_size": 3136.0 * units,
        "train.time": estimate(0.006 * units, 0.01),
    }
    return a_trial(of(units), metrics)


TRIALS = [
    trial(512, 60_000.0, 0.972),
    trial(128, 90_000.0, 0.971),
    TrialResult(of(64), failed="the loss is not finite"),
    TrialResult(of(32), skipped="does not go together"),
]


def test_the_table() -> None:
    """Values with intervals, the front, the recommendation and what the judge said."""
    tuned = a_study(TRIALS, (UNITS,), [a_finalist(of(128), 1.5)], resumed=1)

    assert str(tuned).splitlines() == [
        "tests/test_tuning.py::test_digits: maximize throughput subject to accuracy >=",
        "  baseline - 0.5pt, p99 <= 20ms; ClosedLoop(clients=64); random search, seed 0:",
        "  2 configurations measured, 1 failed, 1 skipped as impossible, 1 of them by an",
        "  earlier run; 1.25 min",
        "",
        "           throughput           p99        accuracy    memory      training",
        " *1    60,000/s ±2.1% 1.07 ms ±5.0%  97.2 % ±1.2 pt  1.53 MiB  3.07 s ±1.0%",
        "      without tuning",
        ">*2    90,000/s ±2.1%  711 us ±5.0%  97.1 % ±1.2 pt   392 KiB  768 ms ±1.0%",
        "      units=128  <- recommended",
        "",
        "* nothing measured is as good in all of these and better in one beyond the",
        "  noise; > recommended; ± half a 95 % interval, its longer side",
        "failed: #3 (units=64): the loss is not finite",
        "skipped: #4 (units=32): does not go together",
        "",
        "recommended: units=128: throughput 1.5 x (1.35 to 1.65), proven better than the",
        "  setup without tuning, within every constraint",
        "  PASS #2 against the setup without tuning: throughput 1.5 x (1.35 to 1.65)",
    ]


def test_without_proof_the_table_says_so() -> None:
    """The setup without tuning is what is recommended, with the reason."""
    finalist = a_finalist(of(128), 1.1, Verdict.INCONCLUSIVE, "the noise hides a loss")
    lines = str(a_study(TRIALS, (UNITS,), [finalist])).splitlines()
    text = " ".join(" ".join(lines).split())

    assert "      without tuning  <- recommended" in lines
    assert "recommended: the setup as it is without tuning: none of 1 compared is proven" in text
    assert "INCONCLUSIVE #2 against" in text
    assert "the noise hides a loss" in text


def test_a_point_off_the_front_has_no_star() -> None:
    """What another one beats in everything is shown only as a finalist, and without its mark."""
    beaten = a_trial(of(64), trial(600, 50_000.0, 0.90).metrics)
    trials = [*TRIALS[:2], beaten]
    alone = list(table_lines(a_study(trials, (UNITS,))))
    compared = list(table_lines(a_study(trials, (UNITS,), [a_finalist(of(64), 0.5)])))

    assert not any(line.strip().startswith("units=64") for line in alone)
    assert "1 more is not shown" in " ".join(" ".join(alone).split())
    assert any(line.startswith("> 3 ") for line in compared)


def test_the_same_reason_is_given_once() -> None:
    """Of many that fail alike the first is named, and of many reasons five."""
    knob = a_knob("units", *range(20))
    reasons = ["it diverged"] * 10 + [f"reason {number}" for number in range(9)]
    trials = [
        a_trial(configured((knob,)), {"throughput": 1.0}),
        *(
            TrialResult(configured((knob,), {"units": units}), failed=reason)
            for units, reason in enumerate(reasons, start=1)
        ),
    ]
    lines = list(problems(a_study(trials, (knob,))))

    assert lines[:2] == [
        "failed: #2 (units=1), and 9 more: it diverged",
        "failed: #12 (units=11): reason 0",
    ]
    assert len(lines) == 6
    assert lines[-1].startswith("5 more failed or were skipped for other reasons")


def test_a_large_front_is_cut() -> None:
    """Twelve are shown, the setup without tuning and the finalists among them."""
    knob = a_knob("units", *range(40))
    trials = [
        a_trial(
            configured((knob,), {"units": units}),
            {"throughput": 1000.0 + units, "accuracy": 0.99 - units / 1000},
        )
        for units in range(40)
    ]
    goal = parse_goal(["maximize throughput"])
    slowest = configured((knob,), {"units": 1})
    tuned = a_study(trials, (knob,), [a_finalist(slowest, 1.0)], goal)
    numbers = [number for number, _ in shown_trials(tuned)]

    assert numbers == [1, 2, *range(31, 41)]
    assert "28 more are not shown" in " ".join(str(tuned).split())


def test_columns_are_what_was_measured() -> None:
    """A study of a metric of a user's own shows it, and no empty column in its place."""
    define(users_metric("ndcg_of_a_table", "share", "higher", 0.01))
    goal = parse_goal(["maximize throughput", "ndcg_of_a_table >= baseline - 1pt", "p95 <= 1s"])
    metrics = {
        "throughput": 1000.0,
        "p95": 0.1,
        "p99": 0.2,
        "ndcg_of_a_table": 0.5,
        "model_size": 1e6,
        "train.time": 2.0,
    }
    tuned = a_study([a_trial(of(512), metrics)], (UNITS,), goal=goal)

    assert columns_of(tuned) == ("throughput", "p95", "p99", "model_size", "ndcg_of_a_table")
    assert "ndcg_of_a_table" in str(tuned)


@pytest.mark.parametrize(
    ("estimate_", "metric", "text"),
    [
        (Estimate(61235.0, 60000.0, 62000.0), "throughput", "61,235/s ±2.0%"),
        (Estimate(0.002, 0.0015, 0.0021), "p99", "2 ms ±25%"),
        (Estimate(0.9722, 0.95, 0.98), "accuracy", "97.2 % ±2.2 pt"),
        (Estimate(0.9722, 0.9722, 0.9722), "accuracy", "97.22 %"),
        (Estimate(2048.0, 2048.0, 2048.0), "model_size", "2 KiB"),
        (Estimate(0.0, 0.0, 0.0), "train.time", "0 ns"),
    ],
)
def test_a_value_with_its_interval(estimate_: Estimate, metric: str, text: str) -> None:
    """The longer side of the interval; what was counted has none."""
    assert with_interval(estimate_, metric) == text


def test_it_fits_a_terminal() -> None:
    """80 columns, whatever the figures and however long the names."""
    knob = a_knob("a_knob_with_a_name_that_is_rather_long", *(f"value{i}" * 9 for i in range(3)))
    huge = {
        "throughput": estimate(123_456.0, 0.5),
        "p99": estimate(0.000123, 0.5),
        "accuracy": Estimate(1.0, 0.5, 1.0),
        "model_size": 1e13,
        "train.time": estimate(123456.0, 0.9),
    }
    trials = [a_trial(configured((knob,), {knob.name: value}), huge) for value in knob.values]
    tuned = a_study(trials, (knob,), notes=("a note " * 40,), goal=GOAL)

    assert max(map(len, str(tuned).splitlines())) <= 80


TWO_UNITS = a_knob("units", 512, 128)
RUNTIME = a_knob("runtime", "tf.function", "an|odd_runtime*with`a_long_name", stage="serving")
TWO_KNOBS = (TWO_UNITS, RUNTIME)
BEST = configured(TWO_KNOBS, {"units": 128})


def whole_study() -> Tuned:
    """One change at a time, one trial that failed, and one finalist."""

    def measure(values: object) -> dict[str, float | Estimate]:
        faster = 1.5 if "128" in str(values) else 1.0
        accuracy = 0.97 - 0.001 * (faster > 1)
        return {
            "throughput": estimate(60_000.0 * faster, 0.01),
            "accuracy": Estimate(accuracy, accuracy - 0.01, accuracy + 0.01),
            "train.time": estimate(3.0 / faster, 0.01),
        }

    trials = trials_of(TWO_KNOBS, ({}, {"units": 128}, {"runtime": RUNTIME.values[1]}), measure)
    both = configured(TWO_KNOBS, {"units": 128, "runtime": RUNTIME.values[1]})
    finalist = Finalist(
        BEST,
        Estimate(1.5, 1.4, 1.6),
        Verdict.PASS,
        (make_judgement(measured=estimate(90_000.0, 0.01), limit=60_000.0),),
        {"throughput": estimate(90_000.0, 0.01)},
        seconds=12.0,
    )
    return a_study([*trials, TrialResult(both, failed="diverged")], TWO_KNOBS, [finalist])


def test_the_whole_text() -> None:
    """The table, then what each knob was worth, then what to paste; 80 columns."""
    lines = list(tuning_lines(whole_study()))
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
    assert list(effect_lines(whole_study())) == [
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
    """A whole_study of one trial says so instead of an empty table."""
    lines = list(
        effect_lines(a_study([a_trial(configured(TWO_KNOBS), {"throughput": 1.0})], TWO_KNOBS))
    )

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
    value = json.loads(json.dumps(tuning_json(whole_study()), allow_nan=False))

    assert value["schema"] == 1
    assert value["goal"]["objective"] == "maximize throughput"
    assert [entry["number"] for entry in value["trials"]] == [1, 2, 3, 4]
    assert value["trials"][3]["failed"] == "diverged"
    assert value["trials"][1]["metrics"]["throughput"]["value"] == 90_000.0
    assert [entry["front"] for entry in value["trials"]] == [True, True, True, False]
    assert value["finalists"][0]["gain"] == {"value": 1.5, "low": 1.4, "high": 1.6}
    assert value["finalists"][0]["judgements"][0]["measured"]["value"] == 90_000.0
    assert value["recommended"]["trial"] == 2
    assert value["recommended"]["configuration"]["units"] == "128"
    assert value["recommended"]["improved"] is True
    assert "Setup(" in value["recommended"]["setup"]
    assert {entry["knob"] for entry in value["effects"]} == {"units", "runtime"}
    assert value["knobs"][0] == {"name": "units", "stage": "model", "values": ["512", "128"]}


def test_json_without_a_winner() -> None:
    """The setup without tuning is what is recommended then, by its number."""
    trials = [a_trial(configured(TWO_KNOBS), {"throughput": 1.0})]
    report = tuning_json(a_study(trials, TWO_KNOBS, []))

    assert report["recommended"]["trial"] == 1  # type: ignore[index]
    assert report["recommended"]["improved"] is False  # type: ignore[index]
    assert report["finalists"] == []


def test_a_finalist_of_which_nothing_came() -> None:
    """It has no gain, and its reason is there."""
    failed = a_finalist(BEST, 1.0)
    failed = Finalist(failed.configuration, None, Verdict.INVALID, reason="the side was lost")
    trials = [
        a_trial(configured(TWO_KNOBS), {"throughput": 1.0}),
        a_trial(BEST, {"throughput": 2.0}),
    ]
    tuned = a_study(trials, TWO_KNOBS, [failed])

    assert tuning_json(tuned)["finalists"][0]["gain"] is None  # type: ignore[index]
    assert "INVALID #2" in str(tuned)
    assert "throughput not compared; the side was lost" in " ".join(str(tuned).split())
