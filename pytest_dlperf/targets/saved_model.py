"""Saved models: functions handed to another process; imports TensorFlow inside functions only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INTER_OP_THREADS: Final = 1


def save_function(concrete: Any, model: object | None, folder: str) -> None:  # noqa: ANN401
    """Write a concrete function of one argument, with the variables that it reads.

    Args:
        concrete: the function.
        model: the Keras model whose answers it gives, if it is one: holds the tables of words
            and numbers that its layers look up.
        folder: where to.
    """
    import tensorflow as tf

    module = tf.Module()
    module.answer = concrete
    module.variables_read = list(concrete.variables)
    if model is not None:
        module.model = model
    tf.saved_model.save(module, folder)


@dataclass(frozen=True, slots=True)
class LoadedFunction:
    """A concrete function that was loaded; numpy in, numpy out.

    Attributes:
        answer: the function.
        module: what it was loaded with: holds its variables, which the function need not.
    """

    answer: Any
    module: object

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Answer a batch; reading the result back waits for the device."""
        import tensorflow as tf

        outputs: NDArray[Any] = self.answer(tf.convert_to_tensor(batch)).numpy()
        return outputs


def load_function(folder: str, intra_op_threads: int) -> LoadedFunction:
    """Start TensorFlow with so many threads, and load what `save_function` wrote.

    Operations run one after the other, as one batch at a time is asked for. GPUs give memory as
    it is needed, since another process has the same model there.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
    tf.config.threading.set_inter_op_parallelism_threads(_INTER_OP_THREADS)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    module = tf.saved_model.load(folder)
    signature, _ = module.answer.structured_input_signature
    # Traced once more: what was loaded is wrapped, which costs 14 microseconds a call.
    answer = tf.function(
        module.answer, input_signature=signature, autograph=False
    ).get_concrete_function()

    return LoadedFunction(answer, module)
