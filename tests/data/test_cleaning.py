"""Cleaning: each rule by hand, and against scikit-learn and the standard library."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.impute import SimpleImputer

from pytest_dlperf.data.cleaning import Cleaning
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.ragged import Ragged
from pytest_dlperf.trees import as_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

NAN = np.nan


def _split(train: ArrayLike, test: ArrayLike, labels: ArrayLike | None = None) -> Split:
    train, test = np.asarray(train), np.asarray(test)
    given = np.arange(len(train)) if labels is None else np.asarray(labels)
    return Split(Examples(train, given), Examples(test, np.arange(len(test))))


def _with_holes() -> Split:
    random = np.random.default_rng(0)
    rows = random.normal(5.0, 2.0, size=(60, 4)).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = NAN
    return _split(rows[:40], rows[40:])


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_missing_values_are_filled_as_scikit_learn_fills_them(
    rule: Literal["mean", "median"],
) -> None:
    """In both parts, by the training rows alone; the type of the rows stays."""
    split = _with_holes()
    imputer = SimpleImputer(strategy=rule).fit(split.train.inputs.astype(np.float64))

    done = Cleaning(missing=rule)(split)

    for part, raw in ((done.train, split.train), (done.test, split.test)):
        np.testing.assert_allclose(part.inputs, imputer.transform(raw.inputs), rtol=1e-6)
        np.testing.assert_array_equal(part.labels, raw.labels)
        assert part.inputs.dtype == np.float32


def test_rows_with_missing_values_are_dropped_from_training_only() -> None:
    """Test rows are filled by the means of the training rows that are left."""
    split = _split([[1.0, 10.0], [NAN, 50.0], [3.0, 30.0]], [[NAN, 7.0], [2.0, NAN]])

    done = Cleaning(missing="drop")(split)

    np.testing.assert_array_equal(done.train.inputs, [[1.0, 10.0], [3.0, 30.0]])
    np.testing.assert_array_equal(done.train.labels, [0, 2])
    np.testing.assert_array_equal(done.test.inputs, [[2.0, 7.0], [2.0, 20.0]])


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (_split([[1.0, 2.0], [3.0, NAN], [NAN, 1.0]], [[1.0, 2.0]]), "training inputs: row 1, fe"),
        (_split([[1.0, 2.0]], [[0.0, 0.0], [NAN, 2.0]]), "test inputs: row 1, feature 0 is missin"),
    ],
)
def test_missing_values_fail_unless_a_rule_is_chosen(split: Split, said: str) -> None:
    """The first row and feature are named, in either part, and how to choose."""
    with pytest.raises(DataError) as refused:
        Cleaning()(split)

    assert said in str(refused.value)
    assert "Cleaning(missing=...)" in str(refused.value)


@pytest.mark.parametrize("k", [0.5, 1.5])
def test_outliers_are_clipped_at_the_quartile_rule(k: float) -> None:
    """The limits are those of the standard library's inclusive quartiles, for all rows."""
    random = np.random.default_rng(1)
    rows = random.standard_cauchy(size=(41, 3))
    split = _split(rows[:30], rows[30:])
    limits = []
    for column in split.train.inputs.T:
        low, _, high = statistics.quantiles(column.tolist(), n=4, method="inclusive")
        limits.append((low - k * (high - low), high + k * (high - low)))
    low, high = np.transpose(limits)

    done = Cleaning(outliers=("clip", k))(split)

    for part, raw in ((done.train, split.train), (done.test, split.test)):
        np.testing.assert_allclose(part.inputs, np.clip(raw.inputs, low, high))
        assert np.any(part.inputs != raw.inputs)


def test_outliers_are_dropped_from_training_only() -> None:
    """Quartiles 1 and 3, so limits are -2 and 6: 7 goes, 6 stays; a test row stays whatever."""
    split = _split([[0], [1], [2], [3], [7.0]], [[1000.0], [-1000.0]])

    done = Cleaning(outliers=("drop", 1.5))(split)

    np.testing.assert_array_equal(done.train.inputs.ravel(), [0, 1, 2, 3])
    np.testing.assert_array_equal(done.train.labels, [0, 1, 2, 3])
    assert done.test.inputs.tolist() == [[1000.0], [-1000.0]]


def test_missing_values_are_filled_from_what_the_outlier_rule_left() -> None:
    """Otherwise one wild value would be in every filled row."""
    split = _split([[1.0], [2.0], [3.0], [4.0], [1000.0], [NAN]], [[NAN]])

    # Quartiles of what is there are 2 and 4: the limit is 7.
    clipped = Cleaning("mean", ("clip", 1.5))(split)
    dropped = Cleaning("mean", ("drop", 1.5))(split)

    assert clipped.test.inputs.tolist() == [[(1 + 2 + 3 + 4 + 7) / 5]]
    assert clipped.train.inputs[-1] == clipped.test.inputs[0]
    assert dropped.test.inputs.tolist() == [[2.5]]


def test_a_feature_whose_middle_half_is_one_value_is_left_alone() -> None:
    """As the border of handwritten digits: every stroke there would count as an outlier."""
    split = _split([[0.0], [0], [0], [0], [9]], [[7.0]])

    for action in ("clip", "drop"):
        done = Cleaning(outliers=(action, 1.5))(split)
        assert done.train.inputs.tolist() == split.train.inputs.tolist()
        assert done.test.inputs.tolist() == [[7.0]]


def test_whole_numbers_stay_whole() -> None:
    """Limits are rounded outwards, and need not fit the type where no value is beyond them."""
    split = _split(
        np.array([[1, 0], [2, 0], [4, 255], [5, 255], [9, 0]], np.uint8),
        np.array([[0, 0], [255, 255]], np.uint8),
    )

    done = Cleaning(outliers=("clip", 0.75))(split)  # quartiles 2 and 5: -1 and 8

    assert done.train.inputs.dtype == done.test.inputs.dtype == np.uint8
    assert done.train.inputs[:, 0].tolist() == [1, 2, 4, 5, 8]
    assert done.test.inputs.tolist() == [[0, 0], [8, 255]]
    assert Cleaning("mean")(split).train.inputs.dtype == np.uint8


def test_duplicates_are_rows_with_their_label() -> None:
    """The first one stays; zero has no sign, missing values are alike, another label is kept."""
    split = _split(
        [[1.0, NAN], [0.0, 2.0], [1.0, NAN], [-0.0, 2.0], [1.0, NAN]],
        [[9.0, 9.0]],
        labels=[0, 1, 0, 1, 7],
    )

    done = Cleaning("mean", duplicates="drop")(split)

    assert done.train.labels.tolist() == [0, 1, 7]
    assert Cleaning("mean")(split).train.labels.tolist() == [0, 1, 0, 1, 7]
    report = Cleaning("mean").report(split)
    assert (report.duplicates, report.contradictions) == (2, 1)


def test_leaks_are_training_rows_that_are_asked() -> None:
    """Whatever their label, and the type of the numbers; test rows stay."""
    split = _split(
        np.array([[1, 2], [3, 4], [1, 2], [5, 6]]), np.array([[1.0, 2.0], [6.0, 5.0]]), [0, 1, 2, 3]
    )

    done = Cleaning(leaks="drop")(split)

    assert done.train.labels.tolist() == [1, 3]
    assert done.train.inputs.dtype == split.train.inputs.dtype
    assert done.test.inputs.tolist() == [[1, 2], [6, 5]]
    assert Cleaning().report(split).leaks == 2


def test_rows_of_any_shape() -> None:
    """Images are cleaned place by place."""
    images = np.random.default_rng(2).standard_cauchy(size=(20, 4, 4, 3))
    images[3, 1, 2, 0] = NAN
    flat = _split(images[:15].reshape(15, -1), images[15:].reshape(5, -1))
    rule = Cleaning("median", ("clip", 1.0), "drop", "drop")

    done = rule(_split(images[:15], images[15:]))

    np.testing.assert_array_equal(done.train.inputs.reshape(15, -1), rule(flat).train.inputs)
    np.testing.assert_array_equal(done.test.inputs.reshape(5, -1), rule(flat).test.inputs)


_values = st.sampled_from([NAN, -1.0, 0.0, 1.0, 2.0, 50.0])
_parts = st.tuples(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.just(2)), elements=_values),
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(2)), elements=_values),
)
_rules = st.builds(
    Cleaning,
    missing=st.sampled_from(["drop", "mean", "median"]),
    outliers=st.one_of(st.none(), st.tuples(st.sampled_from(["clip", "drop"]), st.just(1.0))),
    duplicates=st.sampled_from(["keep", "drop"]),
    leaks=st.sampled_from(["keep", "drop"]),
)


def _left(rule: Cleaning, split: Split) -> int:
    """Training rows that the report promises; none, if it finds no value for a feature."""
    try:
        return rule.report(split).left
    except DataError:
        return 0


@given(parts=_parts, rule=_rules)
def test_what_comes_out_is_clean(
    parts: tuple[NDArray[np.float32], NDArray[np.float32]], rule: Cleaning
) -> None:
    """Nothing is missing, no test row is lost, the report counts right; or rows are refused."""
    split = _split(*parts, labels=np.arange(len(parts[0])) % 2)
    left = _left(rule, split)
    if not left:
        with pytest.raises(DataError):
            rule(split)
        return

    done = rule(split)

    assert not np.isnan(done.train.inputs).any()
    assert not np.isnan(done.test.inputs).any()
    assert done.test.labels.tolist() == split.test.labels.tolist()
    assert len(done.train.inputs) == len(done.train.labels) == left
    assert done.train.inputs.dtype == np.float32
    if rule.missing == rule.duplicates == "drop" and rule.outliers is None:
        # Filling and clipping can make rows alike that were not.
        assert Cleaning().report(done).duplicates == 0


@given(parts=_parts, other=hnp.arrays(np.float32, (3, 2), elements=_values), rule=_rules)
def test_nothing_is_learnt_from_test_rows(
    parts: tuple[NDArray[np.float32], NDArray[np.float32]],
    other: NDArray[np.float32],
    rule: Cleaning,
) -> None:
    """Other test rows leave the training rows as they were, unless they are asked to (leaks)."""
    rule = Cleaning(rule.missing, rule.outliers, rule.duplicates)

    def train(test: NDArray[np.float32]) -> object:
        try:
            return rule(_split(parts[0], test)).train.inputs.tolist()
        except DataError as refused:
            return str(refused)

    assert train(parts[1]) == train(other)


@pytest.mark.parametrize(
    ("split", "rule", "said"),
    [
        (_split([[1.0], [np.inf]], [[1.0]]), Cleaning("mean"), "row 1, feature 0 is infinite"),
        (_split([[1.0]], [[-np.inf]]), Cleaning("mean"), "test inputs: row 0, feature 0 is inf"),
        (_split([[1.0]], [[1.0]]), Cleaning(leaks="drop"), "no training row of 1 is left by Clean"),
        (_split([[1.0, NAN], [NAN, 1]], [[1.0, 1]]), Cleaning("drop"), "no training row of 2 is"),
        (_split([[1.0, NAN], [1, NAN]], [[1.0, 1]]), Cleaning("mean"), "feature 1 has no value"),
        (
            _split([[0.0, NAN], [1, NAN], [2, NAN], [99, 1]], [[1.0, 1]]),
            Cleaning("mean", ("drop", 1.5)),
            "feature 1 has no value in any row that is left",
        ),
        (_split([[1.0]], [[1.0]], [NAN]), Cleaning(), "training labels: row 0 has a value"),
    ],
)
def test_rows_that_no_rule_can_clean_are_refused(split: Split, rule: Cleaning, said: str) -> None:
    """The message says where, before numpy warns of it."""
    with pytest.raises(DataError) as refused:
        rule(split)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Cleaning("zero"), "Cleaning(missing)='zero'"),  # type: ignore[arg-type]
        (lambda: Cleaning(outliers="clip"), "such as ('clip', 1.5)"),  # type: ignore[arg-type]
        (lambda: Cleaning(outliers=("cut", 1.5)), "one of clip, drop"),  # type: ignore[arg-type]
        (lambda: Cleaning(outliers=("clip", 0)), "interquartile ranges=0"),
        (lambda: Cleaning(duplicates=True), "Cleaning(duplicates)=True"),  # type: ignore[arg-type]
        (lambda: Cleaning(leaves=("age",)), "without outliers="),
        (lambda: Cleaning(outliers=("clip", 1), leaves=()), "expected paths of inputs"),
        (lambda: Cleaning(outliers=("clip", 1), leaves=(1,)), "such as"),  # type: ignore[arg-type]
        (lambda: Cleaning(leaks="fail"), "Cleaning(leaks)='fail'"),  # type: ignore[arg-type]
    ],
)
def test_rules_that_make_no_sense_are_refused(make: Callable[[], Any], said: str) -> None:
    """When they are written, not when rows are cleaned."""
    with pytest.raises(UsageError) as refused:
        make()

    assert said in str(refused.value)


def test_equal_rules_have_equal_texts() -> None:
    """Trained models are kept under it."""
    assert str(Cleaning()) == "Cleaning()"
    assert str(Cleaning(outliers=("clip", 2))) == str(Cleaning(outliers=("clip", 2.0)))
    assert str(Cleaning("mean", leaks="drop")) == "Cleaning(missing=mean, leaks=drop)"


def test_the_report_says_what_each_rule_finds_and_does() -> None:
    """In few words, 80 columns wide."""
    split = _split(
        [[1.0, 2.0], [1.0, 2.0], [NAN, 4.0], [3.0, 5.0], [50.0, 6.0], [0.0, 0.0], [1.0, 2.0]],
        [[NAN, 99.0], [0.0, 0.0]],
        labels=[0, 0, 1, 1, 0, 1, 3],
    )

    text = str(Cleaning("mean", ("clip", 3), leaks="drop").report(split))

    assert text.splitlines() == [
        "6 of 7 training rows left, 2 test rows",
        "leaks: 1 training row with the inputs of a test row; dropped",
        "duplicates: 1 training row like an earlier one; kept",
        "contradictions: 1 training row like an earlier one, with another label; kept",
        "outliers: 2 values in 1 training row and 1 test row",
        "  beyond 3 interquartile ranges; set to the limit",
        "missing: 2 values in 1 training row and 1 test row",
        "  filled with the feature's mean",
    ]
    assert max(map(len, text.splitlines())) <= 80
    assert str(Cleaning().report(_split([[1.0]], [[2.0]]))).splitlines() == [
        "1 of 1 training row left, 1 test row",
        "leaks: none",
        "duplicates: none",
        "missing: none",
    ]


def _trees() -> Split:
    """Numbers, ids, text and rows of many lengths; row 3 repeats row 0, row 4 is an outlier."""
    ages = np.array([30.0, 31.0, 32.0, 30.0, 900.0, NAN], np.float32)
    ids = np.array([7, 8, 9, 7, 10, 9_000_000])
    names = ["ann", "bob", "cid", "ann", "dan", "eve"]
    clicks = [[1, 2], [3], [4], [1, 2], [5], [6, 7, 8]]
    classes, sizes = np.array([0, 1, 0, 0, 1, 1]), np.arange(6.0)
    sizes[3] = sizes[0]

    def examples(rows: slice) -> Examples:
        inputs = {
            "age": ages[rows],
            "user": {"id": ids[rows], "name": names[rows]},
            "clicks": Ragged(clicks[rows], mask="mask"),
        }
        return Examples(inputs, {"kind": classes[rows], "size": sizes[rows]})

    return Split(examples(slice(6)), examples(slice(3, 6)))


def _tree(examples: Examples) -> Any:  # noqa: ANN401 - a tree
    return as_tree(examples.inputs)


def test_a_row_is_dropped_from_all_leaves_and_labels() -> None:
    """Whichever leaf has the reason: a repeated row, a leak, an outlier, a missing value."""
    split = _trees()
    rules = (
        (Cleaning("drop"), [0, 1, 2, 3, 4]),
        (Cleaning("mean", duplicates="drop"), [0, 1, 2, 4, 5]),
        (Cleaning("mean", leaks="drop"), [1, 2]),
        (Cleaning("mean", ("drop", 1.5)), [0, 1, 2, 3, 5]),
    )
    for rule, kept in rules:
        done = rule(split)

        tree, raw = _tree(done.train), _tree(split.train)
        assert tree["user"]["name"].tolist() == raw["user"]["name"][kept].tolist()
        assert tree["user"]["id"].tolist() == raw["user"]["id"][kept].tolist()
        assert tree["clicks"].ends.tolist() == raw["clicks"].ends[kept].tolist()
        assert tree["mask"].ends.tolist() == raw["clicks"].ends[kept].tolist()
        for name, labels in as_tree(done.train.labels).items():  # type: ignore[union-attr]
            assert labels.tolist() == as_tree(split.train.labels)[name][kept].tolist()  # type: ignore[call-overload,index]
        assert len(done.test.inputs) == 3
        assert rule.report(split).left == len(kept)


@pytest.mark.parametrize("leaf", ["age", "id", "name", "clicks", "label"])
def test_rows_repeat_each_other_in_all_leaves_only(leaf: str) -> None:
    """One leaf that differs, text and rows of many lengths too, makes another row."""
    ages, ids, labels = np.ones(2), np.ones(2, int), np.zeros(2, int)
    names, clicks = ["a", "a"], [[1, 2], [1, 2]]
    if leaf == "age":
        ages[1] = 2
    elif leaf == "id":
        ids[1] = 2
    elif leaf == "name":
        names[1] = "b"
    elif leaf == "clicks":
        clicks[1] = [1, 2, 0]  # what padding looks like
    else:
        labels[1] = 1
    inputs = {"age": ages, "id": ids, "name": names, "clicks": Ragged(clicks)}
    train = Examples(inputs, {"kind": labels})

    report = Cleaning().report(Split(train, train))

    assert report.duplicates == 0
    assert report.contradictions == (leaf == "label")
    assert report.leaks == 2


def test_numeric_rules_are_for_numeric_leaves() -> None:
    """Floats are clipped and filled, ids only if they are named; the report says where."""
    split = _trees()
    rule = Cleaning("median", ("clip", 1.5))

    done = rule(split)

    ages = _tree(done.train)["age"]
    assert ages.dtype == np.float32
    assert ages[:4].tolist() == [30, 31, 32, 30]
    assert ages[4] == 32 + 1.5 * 2
    assert ages[5] == np.median(ages[:5])
    assert _tree(done.test)["age"].tolist() == ages[3:].tolist()
    for part in ("train", "test"):
        new, old = _tree(getattr(done, part)), _tree(getattr(split, part))
        assert new["user"]["id"].tolist() == old["user"]["id"].tolist()
        assert new["user"]["name"].tolist() == old["user"]["name"].tolist()
        assert new["clicks"].values.tolist() == old["clicks"].values.tolist()
    assert "  not looked for in user.id: see leaves=" in str(rule.report(split)).splitlines()

    named = Cleaning("median", ("clip", 1.5), leaves=("user.id", "age"))
    assert _tree(named(split).train)["user"]["id"].tolist() == [7, 8, 9, 7, 10, 14]
    assert named.report(split).not_searched == ()
    assert str(named).endswith("leaves=('user.id', 'age'))")


def test_text_alone() -> None:
    """There are rows to drop, and no numbers."""
    train, test = Examples(["a", "b", "a"], [0, 1, 0]), Examples(["b"], [1])

    done = Cleaning(duplicates="drop", leaks="drop")(Split(train, test))

    assert as_tree(done.train.inputs).tolist() == ["a"]  # type: ignore[union-attr]


def _of(**leaves: Any) -> Split:  # noqa: ANN401 - leaves of any kind
    examples = Examples(leaves, np.arange(2))
    return Split(examples, examples)


@pytest.mark.parametrize(
    ("split", "rule", "said"),
    [
        (_of(age=[1.0, NAN], id=[1, 2]), Cleaning(), "training inputs.age: row 1, feature 0 is mi"),
        (_of(age=[1.0, np.inf]), Cleaning("mean"), "training inputs.age: row 1, feature 0 is infi"),
        (_of(a=[1.0, 2.0], b=[NAN, NAN]), Cleaning("mean"), "inputs.b: feature 0 has no value"),
        (
            _of(s=Ragged([[1.0], [NAN]])),
            Cleaning("mean"),
            "inputs.s: row 1 has a value that is not",
        ),
        (_of(s=Ragged([[1.0], [NAN]])), Cleaning("mean"), "no rule fills rows of many lengths"),
        (_of(s=Ragged([[1.0], [2.0]])), Cleaning(outliers=("clip", 1)), "s: rows of many lengths"),
        (_of(id=[1, 2]), Cleaning(outliers=("clip", 1)), "whole numbers in a tree may be ids"),
        (_of(id=[1, 2]), Cleaning(outliers=("clip", 1), leaves="age"), "no input is 'age'"),
        (_of(x=["a", "b"]), Cleaning(outliers=("clip", 1), leaves="x"), "x is text"),
    ],
)
def test_trees_that_no_rule_can_clean_are_refused(split: Split, rule: Cleaning, said: str) -> None:
    """The leaf is named, and what to do."""
    with pytest.raises(DataError) as refused:
        rule(split)

    assert said in str(refused.value)
