"""The example project: record, pass, slower fails, less accurate fails; three models."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = [pytest.mark.tensorflow, pytest.mark.subprocess]

PROJECT = Path(__file__).parent.parent / "example_project"
STORY = "tests/test_performance.py"
ACCURACY = f"{STORY}::test_accuracy"
TESTS = "test_closed_loop", "test_open_loop", "test_accuracy", "test_full_batches"
OTHERS = {
    "tests/test_images.py": ("test_learning_digits", "test_convolutional"),
    "tests/test_inputs.py": (
        *("test_pairs_of_person_and_film", "test_titles_as_text"),
        *("test_titles_of_many_lengths", "test_a_module_of_torch"),
    ),
    "tests/test_language.py": ("test_learning_titles", "test_titles", "test_titles_arriving"),
    "tests/test_recommendation.py": ("test_learning_films", "test_films", "test_films_arriving"),
}
TIMES = {
    ("test_open_loop", "p99"),
    ("test_titles_arriving", "p99"),
    ("test_films_arriving", "p99"),
    ("test_learning_digits", "train.time_to_accuracy(90%)"),
    ("test_learning_titles", "train.time"),
    ("test_learning_films", "train.time"),
}
"""Absolute limits on times, which a busy machine may miss."""
QUIET = """
from pytest_dlperf.measure import yardstick
from pytest_dlperf.results.usage import Usage

Usage.others_share = Usage.stolen_share = Usage.lost_share = None
yardstick.Yardstick = lambda clock: yardstick.NO_YARDSTICK
"""
"""A plugin that has speed judged whatever else the machine does."""
RELATIVE = {
    ("test_convolutional", "throughput"),
    ("test_titles", "throughput"),
    ("test_titles", "p99"),
    ("test_films", "throughput"),
    ("test_films", "p99"),
    ("test_films", "ndcg10"),
}
"""Relative budgets of the other models, of which nothing is recorded."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example project with a recorded baseline."""
    copy = copied(tmp_path_factory.mktemp("example"))
    (copy / "taken_for_quiet.py").write_text(QUIET)
    _, verdicts = run(copy, STORY, "--dlperf-update=new")
    assert failed(verdicts) <= TIMES
    assert verdicts["test_closed_loop", "throughput"] == {"NEW"}
    for test in ("test_closed_loop", "test_accuracy"):
        assert list(copy.glob(f".dlperf/baselines/*/*{test}*.json"))
    return copy


def failed(verdicts: dict[tuple[str, str], set[str]]) -> set[tuple[str, str]]:
    """The tests and metrics that have a FAIL."""
    return {key for key, given in verdicts.items() if "FAIL" in given}


def copied(folder: Path) -> Path:
    """A copy of the example project without what earlier runs left in it."""
    leftovers = shutil.ignore_patterns(".dlperf", ".pytest_cache")
    return Path(shutil.copytree(PROJECT, folder / "project", ignore=leftovers))


def run(
    project: Path, *options: str, units: int | None = None
) -> tuple[int, dict[tuple[str, str], set[str]]]:
    """Exit status, and the verdicts of each test and metric."""
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    variables["PYTHONPATH"] = os.pathsep.join(
        [str(project), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    if units is not None:
        variables["DIGITS_UNITS"] = str(units)
    report = project / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "--dlperf-duration=1s"]
    done = subprocess.run(  # noqa: S603 - our own pytest
        [*command, f"--dlperf-json={report}", *options],
        cwd=project,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert " error" not in done.stdout.splitlines()[-1], done.stdout + done.stderr
    verdicts: dict[tuple[str, str], set[str]] = {}
    for measurement in json.loads(report.read_text())["measurements"]:
        for verdict in measurement["verdicts"]:
            key = measurement["test"].rsplit("::", 1)[-1], verdict["metric"]
            verdicts.setdefault(key, set()).add(verdict["verdict"])
    return done.returncode, verdicts


@pytest.mark.real_time
def test_unchanged_code_passes(project: Path) -> None:
    """The same model again does not fail."""
    _, verdicts = run(project, STORY)

    assert {test for test, _ in verdicts} == set(TESTS)
    assert failed(verdicts) <= TIMES
    assert "NEW" not in verdicts["test_closed_loop", "throughput"]


def test_other_models_need_baselines_of_their_own(tmp_path: Path) -> None:
    """They are NEW where a budget needs one, and pass where it does not."""
    _, verdicts = run(copied(tmp_path), *OTHERS)

    assert {test for test, _ in verdicts} == {*chain.from_iterable(OTHERS.values())}
    assert failed(verdicts) <= TIMES
    assert {key for key, given in verdicts.items() if "NEW" in given} >= RELATIVE
    assert all(verdicts[key] <= {"NEW", "PASS"} for key in RELATIVE)
    assert verdicts["test_films", "hit_rate10"] == {"PASS"}
    assert verdicts["test_learning_films", "hit_rate10"] == {"PASS"}
    assert verdicts["test_titles", "accuracy"] == {"PASS", "NEW"}
    assert ("test_learning_digits", "train.time_to_accuracy(90%)") in verdicts


@pytest.mark.real_time
def test_a_wider_model_fails_on_throughput_only(project: Path) -> None:
    """60,000 units: ten times as slow in a fresh process too, and as accurate as before."""
    chosen = f"{STORY}::test_closed_loop", ACCURACY
    status, verdicts = run(project, *chosen, "-p", "taken_for_quiet", units=60_000)

    assert status == 1
    assert verdicts["test_closed_loop", "throughput"] == {"FAIL"}
    assert ("test_accuracy", "accuracy") not in failed(verdicts)


@pytest.mark.real_time
def test_a_narrow_model_fails_on_accuracy_only(project: Path) -> None:
    """2 units: faster, and wrong."""
    status, verdicts = run(project, f"{STORY}::test_closed_loop", ACCURACY, units=2)

    assert status == 1
    assert ("test_accuracy", "accuracy") in failed(verdicts)
    assert ("test_closed_loop", "throughput") not in failed(verdicts)


def test_each_test_runs_on_each_device(tmp_path: Path) -> None:
    """Two logical CPUs: tests on both, as accurate on each, and skipped on a GPU that is absent."""
    options = ["--dlperf-devices=all,gpu:99", "--dlperf-logical-cpus=2", "--dlperf-duration=0.5s"]
    status, verdicts = run(copied(tmp_path), f"{STORY}::test_closed_loop", ACCURACY, *options)

    assert (status, failed(verdicts)) == (0, set())
    devices = ("cpu:0", "cpu:1")
    tests = {f"{test}[{on}]" for test in ("test_closed_loop", "test_accuracy") for on in devices}
    assert {test for test, _ in verdicts} == tests
    for on in devices:
        assert verdicts[f"test_accuracy[{on}]", "accuracy"] == {"PASS", "NEW"}


def test_the_ranking_is_as_scikit_learn_has_it() -> None:
    """Hit rate and NDCG at 10 equal top-k accuracy and NDCG of scikit-learn."""
    from sklearn.metrics import ndcg_score, top_k_accuracy_score

    ranking = part("film_recommender/ranking.py")
    random = np.random.default_rng(3)
    scores, watched = random.normal(size=(500, 40)), random.integers(0, 40, 500)

    hits, gains = ranking.hits(scores, watched), ranking.gains(scores, watched)

    labels = np.arange(40)
    assert hits.mean() == pytest.approx(top_k_accuracy_score(watched, scores, k=10, labels=labels))
    assert gains.mean() == pytest.approx(ndcg_score(np.eye(40)[watched], scores, k=10))


def test_no_film_that_is_held_back_is_learnt() -> None:
    """The last three films of each person are test rows, each with the films before it, once."""
    views = part("film_recommender/data.py").load_views()
    learnt, tested = rows_of(views.train), rows_of(views.test)

    assert len(tested) == len(views.test.labels)
    assert not learnt & tested
    for split in (views.train, views.test):
        assert not (split.inputs == split.labels[:, None]).any()
        assert 1 <= split.labels.min() <= split.labels.max() <= 450
    # The second of a person's three rows has the first one's film as its last one.
    assert (views.test.inputs[1::3, -1] == views.test.labels[::3]).all()


@pytest.mark.parametrize(
    ("medium", "kind"),
    [
        ("Etching on paper", "print"),
        ("Photograph, gelatin silver print on paper", "photograph"),
        ("Oil paint on canvas", "painting"),
        ("Ink and pastel on paper", "drawing"),
        ("Video, projection, colour and sound (stereo)", "film"),
        ("Bronze", "object"),
    ],
)
def test_the_kind_of_a_work_is_what_its_medium_names_first(medium: str, kind: str) -> None:
    """Known answers."""
    kinds = part("text_classifier/kinds.py")

    assert list(kinds.KINDS)[kinds.kind_of(medium)] == kind


def part(path: str) -> ModuleType:
    """One module of the example project, without its package, which would bring TensorFlow."""
    name = path.removesuffix(".py").replace("/", "_of_example_")
    spec = importlib.util.spec_from_file_location(name, PROJECT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def rows_of(views: object) -> set[bytes]:
    """Rows of inputs with their labels."""
    joined = np.column_stack([views.inputs, views.labels]).astype(np.int32)  # type: ignore[attr-defined]
    return {row.tobytes() for row in joined}
