"""Which backend and precision Keras has; never imports Keras."""

from __future__ import annotations

import sys


def is_keras_model(target: object) -> bool:
    """Whether this is a Keras model, on any backend."""
    module = sys.modules.get("keras")
    return module is not None and isinstance(target, module.Model)


def keras_backend() -> str:
    """`tensorflow`, `jax` or `torch`; empty where Keras is not imported."""
    module = sys.modules.get("keras")
    return "" if module is None else str(module.config.backend())


def precision() -> str:
    """Keras' default precision (dtype policy)."""
    module = sys.modules.get("keras")
    return str(module.config.dtype_policy().name) if module is not None else "float32"


def fixed_batch_size(model: object) -> int | None:
    """The batch size that a Keras model's inputs fix; None if they leave it open."""
    inputs = getattr(model, "inputs", None) or ()
    sizes = {tensor.shape[0] for tensor in inputs if len(tensor.shape)}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return size if isinstance(size, int) else None
