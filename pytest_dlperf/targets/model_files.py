"""Targets that are paths: models in files of Keras, TensorFlow, ONNX and LiteRT."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from pytest_dlperf.errors import TargetError, UsageError, in_a_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.trees import Rows

_KNOWN: Final = ".keras, .onnx, .tflite, or the folder of a SavedModel"


def is_path(target: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether this is a path, or text that can only be one."""
    return isinstance(target, str | os.PathLike)


def loaded(target: str | os.PathLike[str], sample: Rows) -> object:
    """The model of a file, as a target of its framework.

    Args:
        target: a path, relative to the working directory.
        sample: at least one row like those to come.

    Raises:
        UsageError: if there is none, or it is of no known kind.
        TargetError: if its framework cannot read it.
    """
    path = Path(target)
    if not path.exists():
        raise UsageError(
            f"dlperf({os.fspath(target)!r:.200}): there is no {path.absolute()}",
            f"expected the path of a model: {_KNOWN}",
        )
    readers: dict[str, Callable[[Path, Rows], object]] = {
        ".keras": _keras,
        ".onnx": _onnx,
        ".tflite": _litert,
    }
    reader = _saved_model if (path / "saved_model.pb").exists() else readers.get(path.suffix)
    if reader is None:
        raise UsageError(
            f"dlperf({os.fspath(target)!r:.200}) is no model that can be loaded",
            f"expected {_KNOWN}; load other models in the test, and give what is loaded",
        )
    try:
        return reader(path, sample)
    except (TargetError, UsageError):
        raise
    except Exception as error:
        raise TargetError(f"{path} cannot be loaded: {in_a_line(error)}") from error


def _keras(path: Path, sample: Rows) -> object:
    from pytest_dlperf.targets import keras_models

    del sample
    return keras_models.load(path)


def _saved_model(path: Path, sample: Rows) -> object:
    from pytest_dlperf.targets import keras

    del sample
    return keras.load_saved_model(path)


def _onnx(path: Path, sample: Rows) -> Any:  # noqa: ANN401 - onnxruntime has no types
    from pytest_dlperf.targets import onnx

    del sample
    return onnx.session_of(str(path), str(path))


def _litert(path: Path, sample: Rows) -> object:
    from pytest_dlperf.targets.litert import litert_target

    return litert_target(path.read_bytes(), sample, f"{path.name} in LiteRT")
