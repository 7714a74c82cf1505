"""Targets with several inputs and outputs, text and missing values, in users' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugin_projects import assert_no_frame_of_ours, text

if TYPE_CHECKING:
    from plugin_projects import Run

TREES = """
RNG = np.random.default_rng(1)
USERS, ITEMS = RNG.integers(0, 10_000, 600), RNG.integers(0, 10_000, 600)
BOTH = {"user": USERS, "item": ITEMS}
LIKED = (USERS > ITEMS).astype(int)

def recommend(batch):
    spend(200e-6)
    score = (batch["user"] > batch["item"]) * 0.8 + 0.1
    return {"score": score[:, None], "pair": np.stack([batch["user"], batch["item"]], axis=1)}
"""


def test_an_output_is_chosen(run: Run) -> None:
    """By the call or the marker, as a path or a function; the report shows its accuracy."""
    result = run(
        TREES
        + """
@pytest.mark.dlperf("accuracy >= 99%", **SHORT)
def test_call(dlperf):
    found = dlperf(recommend, (BOTH, LIKED), output="score")
    assert not found.notes

@pytest.mark.dlperf("accuracy >= 99%", output=lambda outputs: outputs["score"], **SHORT)
def test_marker(dlperf):
    dlperf(recommend, (BOTH, LIKED))

@pytest.mark.dlperf("accuracy >= 99%", **SHORT)
def test_wrong(dlperf):
    dlperf(recommend, (BOTH, 1 - LIKED), output="score")
"""
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.re_match_lines([r"test_call .*100.00 %  PASS"])
    result.stdout.re_match_lines([r"test_wrong .*0.00 %  FAIL"])


def test_metrics_of_users_get_all_outputs_and_labels(run: Run) -> None:
    """As the target and the data have them; only the chosen output if there is one."""
    result = run(
        TREES
        + """
@metric()
def hits(outputs, labels):
    assert set(outputs) == {"score", "pair"}
    return (outputs["score"][:, 0] > 0.5) == labels["liked"]

@metric()
def chosen(outputs, labels):
    return (outputs[:, 0] > 0.5) == labels["liked"]

@pytest.mark.dlperf("hits >= 99%", **SHORT)
def test_all(dlperf):
    dlperf(recommend, (BOTH, {"liked": LIKED, "weight": USERS}))

@pytest.mark.dlperf("chosen >= 99%", **SHORT)
def test_one(dlperf):
    dlperf(recommend, (BOTH, {"liked": LIKED}), output="score")
"""
    )

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("clients", ["threads", "async"])
def test_clients_with_one_row_each(run: Run, clients: str) -> None:
    """A row has the structure of the inputs, without the batch axis, and so has its answer."""
    define = "async def" if clients == "async" else "def"
    result = run(
        TREES
        + f"""
{define} one(row):
    assert np.ndim(row["user"]) == 0
    return {{"score": np.array([0.9 if row["user"] > row["item"] else 0.1]), "user": row["user"]}}

@pytest.mark.dlperf("accuracy >= 99%", clients="{clients}", output="score",
                    scenario=ClosedLoop(2), duration="0.1s")
def test_it(dlperf):
    dlperf(one, (BOTH, LIKED))
"""
    )

    result.assert_outcomes(passed=1)


def test_models_that_are_measured_in_turn(run: Run) -> None:
    """A duel in one process: the same is green, twice the work is red."""
    result = run(
        TREES
        + """
def slower(batch):
    recommend(batch)
    return recommend(batch)

HALF = dict(detect="throughput 50%, p95 60%, accuracy 5pt", **SHORT)

@pytest.mark.dlperf("throughput >= 0.7 * baseline", "accuracy >= baseline", **HALF)
@pytest.mark.parametrize("candidate", [recommend, slower])
def test_it(dlperf, candidate):
    dlperf.duel(recommend, candidate, (BOTH, LIKED), output="score")
""",
        "--dlperf-inconclusive=fail",
    )

    result.assert_outcomes(passed=1, failed=1)


def test_missing_values(run: Run) -> None:
    """They are refused with the row, and taken where the test says so."""
    result = run(
        """
MISSING = INPUTS.copy()
MISSING[7, 0] = np.nan

@pytest.mark.dlperf(**SHORT)
def test_refused(dlperf):
    dlperf(lambda batch: np.nan_to_num(identity(batch)), (MISSING, None))

@pytest.mark.dlperf(**SHORT)
def test_allowed(dlperf):
    dlperf(lambda batch: np.nan_to_num(identity(batch)), (MISSING, None), allow_nan=True)
"""
    )

    result.assert_outcomes(passed=1, failed=1)
    assert "inputs: row 7 has a value that is not finite" in text(result)


def test_text(run: Run) -> None:
    """Text goes in and comes out."""
    result = run(
        """
WORDS = ["one", "two", "three"] * 50

def upper(batch):
    spend(200e-6)
    return [word.upper() for word in batch]

@pytest.mark.dlperf(**SHORT)
def test_it(dlperf):
    found = dlperf(upper, (WORDS, None))
    assert not found.errors
"""
    )

    result.assert_outcomes(passed=1)


MISUSES = {
    "two rows or two inputs": (
        "dlperf(identity, ([np.zeros((2, 3)), np.zeros((2, 3))], [0, 1]))",
        "2 rows, or as 2 inputs",
        "np.stack",
    ),
    "an input is shorter": (
        "dlperf(recommend, ({'user': USERS, 'item': ITEMS[:9]}, LIKED))",
        "user has 600, item has 9",
        "the same number of rows",
    ),
    "an empty dict": ("dlperf(recommend, ({}, LIKED))", "an empty dict", "no rows"),
    "text and numbers": (
        "dlperf(identity, (np.array(['a', 1], object), None))",
        "row 1 has 1, of type int",
        "all str or all bytes",
    ),
    "no output is chosen": (
        "dlperf(recommend, (BOTH, LIKED))",
        "several outputs (score, pair)",
        "output='score'",
    ),
    "an output that is not there": (
        "dlperf(recommend, (BOTH, LIKED), output='scores')",
        "answers 'score', 'pair'",
        "name one of them",
    ),
    "no output": ("dlperf(recommend, (BOTH, LIKED), output='')", "output=''", "path of an output"),
    "a number for an output": (
        "dlperf(recommend, (BOTH, LIKED), output=1)",
        "output=1",
        "path of an output",
    ),
    "a function that fails": (
        "dlperf(recommend, (BOTH, LIKED), output=lambda outputs: outputs['x'])",
        "output= raised KeyError: 'x'",
        "it is given what the target answers",
    ),
    "a function that returns too little": (
        "dlperf(recommend, (BOTH, LIKED), output=lambda outputs: outputs['score'].mean())",
        "output= returned float64[]",
        "for a batch of",
    ),
    "an output with other rows": (
        "dlperf(lambda b: {**recommend(b), 'boxes': np.zeros((7, 4))}, (BOTH, None))",
        "boxes: 7 rows for a batch of 1",
        "one row a request",
    ),
    "labels of other outputs": (
        "dlperf(recommend, (BOTH, {'stars': LIKED, 'clicks': LIKED}), output='score')",
        "labels for stars, clicks",
        "names are those of the outputs",
    ),
    "no yes or no": (
        "dlperf(recommend, (BOTH, LIKED), output='score', allow_nan='yes')",
        "allow_nan='yes'",
        "True or False",
    ),
    "an input that the target lacks": (
        "dlperf(recommend, ({'user': USERS}, LIKED))",
        "KeyError: 'item'",
        "user: int64 (1,)",
    ),
    "rows of many lengths in a list": (
        "dlperf(identity, ([[1, 2], [3]], None))",
        "inputs cannot be read as one array",
        "Ragged(rows) stands for rows of many lengths",
    ),
    "a missing value": (
        "dlperf(identity, ([[1.0], [float('nan')]], None))",
        "inputs: row 1 has a value that is not finite",
        "allow_nan=True",
    ),
    "a function that builds the model": (
        "dlperf(lambda: recommend, (BOTH, None))",
        "takes 0 positional arguments",
        "give what it returns",
    ),
    "rows without a length": (
        "dlperf(identity, (Ragged([1, 2]), None))",
        "row 0 is 1",
        "an array of numbers with a length",
    ),
    "a row that is too long": (
        "dlperf(identity, (Ragged([[1], [1, 2, 3]], lengths=(1, 2)), None))",
        "row 1 has length 3",
        "cut the rows, or add a length",
    ),
    "lengths that go down": (
        "dlperf(identity, (Ragged([[1]], lengths=(4, 2)), None))",
        "lengths=(4, 2)",
        "ascending lengths",
    ),
    "a mask without a name beside it": (
        "dlperf(identity, (Ragged([[1]], mask='mask'), None))",
        "mask='mask'",
        "give the rows by name, too",
    ),
    "a mask that is an input": (
        "dlperf(recommend, ({'ids': Ragged([[1]], mask='n'), 'n': [1]}, None))",
        "'n' is an input already",
        "another name",
    ),
    "labels of answers that are text": (
        "dlperf(lambda batch: np.array(['a'] * len(batch), object), (USERS, LIKED))",
        "labels are given, but the answers are text",
        "a metric of your own gets them as they are",
    ),
    "padding of another type": (
        "dlperf(identity, (Ragged([[1]], pad='x'), None))",
        "pad='x'",
        "no value of type int64",
    ),
    "groups without lengths": (
        "dlperf(identity, (INPUTS, None), serving=Serving(group_by_length=True))",
        "group_by_length=True",
        "Ragged(rows, lengths=(16, 32), mask='mask')",
    ),
    "a generator that was read": (
        "dlperf(identity, iter([]))",
        "there is nothing in it",
        "can be read once only",
    ),
    "pieces that are rows or batches": (
        "dlperf(identity, iter([(INPUTS[:, 0], LABELS)]))",
        "may be a row or a batch of 600",
        "np.stack(...) of rows",
    ),
    "pieces of three parts": (
        "dlperf(identity, iter([(INPUTS, LABELS, LABELS)]))",
        "piece 0 has 3 parts",
        "leave weights and the like out",
    ),
    "a path that is not there": (
        "dlperf('model.keras', DATA)",
        "there is no",
        ".keras, .onnx, .tflite",
    ),
    "a file that is no model": (
        "dlperf('test_module.py', DATA)",
        "is no model that can be loaded",
        "load other models in the test",
    ),
    "data that is a name": (
        "dlperf(identity, 'data.csv')",
        "data of type str",
        "a tf.data.Dataset",
    ),
    "a batch too few": (
        "dlperf(lambda batch: (batch, batch[1:]), (INPUTS, None))",
        "1: 0 rows for a batch of 1",
        "one row a request",
    ),
    "inputs that are not finite": (
        "dlperf(recommend, ({'user': USERS * np.inf, 'item': ITEMS}, LIKED), output='score')",
        "inputs.user: row",
        "not finite",
    ),
    "an array is written to": (
        "dlperf(lambda b: b['user'].fill(0) or recommend(b), (BOTH, None))",
        "read-only",
        "first call",
    ),
}


@pytest.mark.parametrize("name", MISUSES)
def test_misuses(run: Run, name: str) -> None:
    """What was given, what is expected and what to do, without a traceback of ours."""
    call, got, hint = MISUSES[name]

    result = run(TREES + f"\n@pytest.mark.dlperf(**SHORT)\ndef test_it(dlperf):\n    {call}\n")

    result.assert_outcomes(failed=1)
    said = text(result)
    assert got in said
    assert hint in said
    if "target lacks" not in name and "written to" not in name:
        assert_no_frame_of_ours(result)


def test_there_are_many() -> None:
    """Thirty kinds of mistakes at least."""
    assert len(MISUSES) >= 30


def test_rows_of_many_lengths(run: Run) -> None:
    """Each batch is padded, rows are checked one by one, and the report has the padding's share."""
    result = run(
        """
RNG = np.random.default_rng(2)
TEXTS = [RNG.integers(1, 99, RNG.integers(1, 30)) for _ in range(400)]
SUMS = np.array([text.sum() % 3 for text in TEXTS])

def classify(batch):
    spend(200e-6)
    assert batch["ids"].shape == batch["mask"].shape
    assert batch["ids"].shape[1] in {16, 32}
    return np.eye(3)[(batch["ids"] * batch["mask"]).sum(axis=1) % 3]

@pytest.mark.dlperf("accuracy >= 98%", **SHORT)
def test_it(dlperf):
    ids = Ragged(TEXTS, pad=99, lengths=(16, 32), mask="mask")
    found = dlperf(classify, ({"ids": ids}, SUMS))
    assert [note for note in found.notes if "padding" in note], found.notes

@pytest.mark.dlperf("accuracy >= 98%", **SHORT)
def test_grouped(dlperf):
    ids = Ragged(TEXTS, pad=99, lengths=(16, 32), mask="mask")
    serving = Serving(8, group_by_length=True)
    found = dlperf(classify, ({"ids": ids}, SUMS), serving=serving)
    assert found.target.endswith("rows grouped by length")
    assert not found.errors
"""
    )

    result.assert_outcomes(passed=2)
    assert "padding was" in text(result)
    assert "of ids" in text(result)
