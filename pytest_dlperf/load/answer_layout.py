"""The layout of a target's answers: which arrays they consist of, and which of them is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pytest_dlperf.errors import UsageError, kind_of
from pytest_dlperf.load.answer_leaves import (
    MisfitError,
    has_values,
    is_numeric,
    is_plain,
    leaf_words,
    misfit_words,
    plain,
    position_shape,
    read_leaf,
    row_shape,
    stacked,
)
from pytest_dlperf.load.answer_tree import take_apart, tree_of
from pytest_dlperf.trees import mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.load.answer_leaves import Leaf
    from pytest_dlperf.load.answer_tree import Sample


Output: TypeAlias = str | Callable[[Any], Any]
"""Path of the output that is scored, or a function that computes it from all of them."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """An output whose rows have a length, such as scores for each token: it can be read so.

    Attributes:
        number: of the output; None if the user's function computes it.
        shape: of one position.
        vary: whether answers to batches of different sizes had different lengths.
    """

    number: int | None
    shape: tuple[int, ...]
    vary: bool


@dataclass(frozen=True, slots=True, eq=False)
class AnswerLayout:
    """How answers are taken apart.

    Attributes:
        tree: of the numbers of the outputs, as they stand in an answer; 0 for a single array.
        paths: of the outputs; that of a single array is empty.
        scored: number of the output that is compared with labels and between rows; None if none
            has numbers, of one shape for each row.
        shape: of one row of that output, or of what `compute` makes of the answer.
        compute: computes what is scored from an answer; None if it is one of the outputs.
        is_chosen: whether the user said which output is scored, or there is one only.
        sequences: the chosen output, if its rows can be read as having a length.
        by_position: whether it is: then `shape` is that of one position, and rows have lengths.
    """

    tree: Any
    paths: tuple[str, ...]
    scored: int | None
    shape: tuple[int, ...]
    compute: Callable[[Any], Any] | None = None
    is_chosen: bool = True
    sequences: Sequences | None = None
    by_position: bool = False
    _one_array: bool = field(init=False)
    """Whether answers are one array of this shape a row: asked for each of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_one_array", self.tree == 0 and not self.by_position)

    @property
    def has_score(self) -> bool:
        """Whether there are numbers of one shape, which can be compared with labels."""
        if self.compute is None or self.by_position:
            return self.compute is not None or self.scored is not None
        return self.sequences is None or not self.sequences.vary

    def read_by_position(self) -> AnswerLayout:
        """The layout that compares each row up to its length; there must be `sequences`."""
        assert self.sequences is not None  # noqa: S101 - asked only then
        return replace(
            self, scored=self.sequences.number, shape=self.sequences.shape, by_position=True
        )

    def parts(self, outputs: object, rows: int) -> tuple[Leaf, ...]:
        """The outputs of an answer to a batch of so many rows.

        Raises:
            MisfitError: if it is laid out differently, or has other rows or another shape.
        """
        if self._one_array and is_plain(outputs) and outputs.shape == (rows, *self.shape):
            return (outputs,)  # almost always
        if self.tree == 0:
            parts: tuple[Leaf, ...] = (read_leaf(outputs, rows, ""),)
        else:
            collected: list[Leaf] = []
            take_apart(outputs, self.tree, rows, "", collected)
            parts = tuple(collected)
        if self.scored is not None:
            self._check_scored(parts[self.scored], rows)
        return parts

    def whole(self, parts: Sequence[Leaf]) -> Any:  # noqa: ANN401 - a tree
        """The answer as the target lays it out."""
        if self.tree == 0:
            return parts[0]
        return mapped(lambda number: parts[int(number)], self.tree)

    def to_score(self, parts: Sequence[Leaf]) -> NDArray[Any]:
        """What is scored of an answer, shape `(rows, *shape)`; of no columns if nothing is.

        Not for answers that are compared by position.

        Raises:
            MisfitError: if the user's function fails, or does not return one row a request.
        """
        if self.compute is not None and self.has_score:
            computed = self._computed(parts)
            if isinstance(computed, list) or (self.shape and computed.shape[1:] != self.shape):
                raise _misfit_of_function(computed, len(parts[0]))
            return computed
        if self.scored is None:
            return np.zeros((len(parts[0]), 0), np.float32)
        return np.asarray(parts[self.scored])

    def to_cut(self, parts: Sequence[Leaf]) -> Leaf:
        """What is scored of an answer that is compared by position, with its padding.

        Raises:
            MisfitError: as `to_score`, or if its rows have no length.
        """
        if self.scored is not None:
            return parts[self.scored]
        computed = self._computed(parts)
        if not self._has_positions(computed):
            raise _misfit_of_function(computed, len(parts[0]))
        return computed

    def of_rows(self, parts: Sequence[Leaf], scored: Any, rows: NDArray[np.intp]) -> Any:  # noqa: ANN401 - trees
        """The answers to some rows, as users' metrics take them: what is scored if it was chosen.

        Answers that cannot be scored are given as they are; those that are compared by position
        as a list of rows, each up to its length.

        Args:
            parts: the outputs.
            scored: as `to_score` returned it, or the `RowPositions` of what `to_cut` did.
            rows: their numbers.
        """
        if self.is_chosen and self.has_score:
            return scored[rows].rows() if self.by_position else scored[rows]
        chosen: list[Leaf] = [
            [part[row] for row in rows] if isinstance(part, list) else part[rows] for part in parts
        ]
        return self.whole(chosen)

    def read(self, outputs: object, rows: int) -> NDArray[Any]:
        """What is scored of the answer to a batch; raises as `parts` and `to_score`."""
        return self.to_score(self.parts(outputs, rows))

    def _check_scored(self, leaf: Leaf, rows: int) -> None:
        path = self.paths[self.scored or 0]
        if self.by_position:
            if not self._has_positions(leaf):
                raise MisfitError(misfit_words(leaf, rows, path))
        elif isinstance(leaf, list) or leaf.shape != (rows, *self.shape):
            raise MisfitError(misfit_words(leaf, rows, path))

    def _has_positions(self, leaf: Leaf) -> bool:
        if isinstance(leaf, list):
            return position_shape(leaf) == self.shape or not has_values(leaf)
        return leaf.ndim > 1 and (leaf.shape[2:] == self.shape or not leaf.size)

    def _computed(self, parts: Sequence[Leaf]) -> Leaf:
        return _computed_output(self.compute, self.whole(parts), len(parts[0]))


def _computed_output(compute: Callable[[Any], Any] | None, outputs: object, rows: int) -> Leaf:
    """What the user's function makes of an answer; a MisfitError if it has no numbers or rows."""
    assert compute is not None  # noqa: S101 - asked only then
    try:
        returned = compute(outputs)
        computed = stacked(returned)
        leaf: Leaf = [np.asarray(row) for row in returned] if computed is None else computed
    except Exception as error:  # the user's own code
        raise MisfitError(f"output= raised {kind_of(error)}: {error}") from error
    if not all(map(is_numeric, leaf if isinstance(leaf, list) else [leaf])):
        raise MisfitError(f"output= returned {leaf_words(leaf)}: expected an array of numbers")
    if (len(leaf) if isinstance(leaf, list) or leaf.ndim else None) != rows:
        raise _misfit_of_function(leaf, rows)
    return [plain(row) for row in leaf] if isinstance(leaf, list) else plain(leaf)


def _misfit_of_function(computed: Leaf, rows: int) -> MisfitError:
    return MisfitError(f"output= returned {leaf_words(computed)} for a batch of {rows}")


def layout_of(samples: Sequence[Sample], output: Output | None = None) -> AnswerLayout:
    """The layout of answers to batches of different sizes, the largest last.

    Raises:
        MisfitError: if they have no rows, or different layouts.
        UsageError: if `output` names none of the outputs, or one without numbers.
    """
    tree, paths = tree_of(samples, "", [])
    collected: list[list[Leaf]] = [[] for _ in samples]
    for sample, parts in zip(samples, collected, strict=True):
        take_apart(sample.outputs, tree, sample.rows, "", parts)
    if callable(output):
        return _computed_layout(tree, paths, output, collected)
    steady = [number for number in range(len(paths)) if _shapes(collected, number) is not None]
    last = collected[-1]
    chosen = 0 if len(paths) == 1 else None
    scored: int | None = max(steady, key=lambda number: np.size(last[number][0]), default=None)
    if output is not None:
        chosen = _named(output, paths)
        scored = chosen if chosen in steady else None
    found = None if chosen is None else _sequences([parts[chosen] for parts in collected], chosen)
    if output is not None and scored is None and found is None:
        raise _not_scored(output, last[chosen or 0])
    shape = None if scored is None else row_shape(last[scored])
    return AnswerLayout(
        tree, paths, scored, shape or (), is_chosen=chosen is not None, sequences=found
    )


def _shapes(collected: Sequence[Sequence[Leaf]], number: int) -> tuple[int, ...] | None:
    """The shape of a row of an output in all answers; None if it differs, or is of no numbers."""
    shapes = {row_shape(parts[number]) for parts in collected}
    return shapes.pop() if len(shapes) == 1 else None


def _sequences(leaves: Sequence[Leaf], number: int | None) -> Sequences | None:
    """How an output is read by position, if the answers to all batches can be."""
    told = list(filter(has_values, leaves)) or leaves
    shapes = {position_shape(leaf) for leaf in told}
    shape = shapes.pop() if len(shapes) == 1 else None
    vary = len({row_shape(leaf) for leaf in leaves}) > 1 or row_shape(leaves[0]) is None
    return None if shape is None else Sequences(number, shape, vary)


def _computed_layout(
    tree: Any,  # noqa: ANN401 - a tree
    paths: tuple[str, ...],
    compute: Callable[[Any], Any],
    collected: Sequence[Sequence[Leaf]],
) -> AnswerLayout:
    bare = AnswerLayout(tree, paths, None, (), compute)
    try:
        # The largest first, which an error then shows.
        computed = [
            _computed_output(compute, bare.whole(parts), len(parts[0]))
            for parts in reversed(collected)
        ]
    except MisfitError as error:
        offered = ", ".join(repr(path) for path in paths if path) or "one array"
        raise UsageError(
            str(error), f"it is given what the target answers, as numpy arrays: {offered}"
        ) from error.__cause__
    found = _sequences(computed, None)
    if found is None and isinstance(computed[0], list):
        raise UsageError(
            f"output= returned {leaf_words(computed[0])}",
            "expected numbers of one shape for each row, or of one shape for each position",
        )
    shape = () if isinstance(computed[0], list) else computed[0].shape[1:]
    return replace(bare, shape=shape, sequences=found)


def _named(output: str, paths: tuple[str, ...]) -> int:
    if paths == ("",):
        raise UsageError(
            f"output={output!r}: the target answers one array", "leave output= out: it is scored"
        )
    if output not in paths:
        offered = ", ".join(map(repr, paths))
        raise UsageError(f"output={output!r}: the target answers {offered}", "name one of them")
    return paths.index(output)


def _not_scored(output: str, leaf: Leaf) -> UsageError:
    return UsageError(
        f"output={output!r} is {leaf_words(leaf)}: it cannot be scored",
        "expected numbers of one shape for each row; a function computes them: output=lambda "
        "outputs: ...",
    )
