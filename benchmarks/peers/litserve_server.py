"""A LitServe server of the reference model: `python litserve_server.py PORT MODEL ROWS`.

LitServe reads the annotations of its methods, so they must be types, not their names.
"""

import sys
from typing import Any

import litserve
import numpy as np


class ReferenceModel(litserve.LitAPI):  # type: ignore[misc]  # ships no types
    """The saved model as one concrete function; LitServe collects the batches."""

    path: str

    def setup(self, device: str) -> None:
        """Load the model in the worker's process."""
        del device
        import tensorflow as tf

        model = tf.keras.models.load_model(self.path)
        function = tf.function(lambda batch: model(batch, training=False), autograph=False)
        spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        concrete = function.get_concrete_function(spec)
        self.infer = lambda batch: concrete(tf.convert_to_tensor(batch)).numpy()

    def decode_request(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 - as LitServe has it
        """One row."""
        return np.array(request["row"], np.float32)

    def predict(self, x: Any) -> Any:  # noqa: ANN401 - as LitServe has it
        """One batch."""
        return self.infer(x)

    def encode_response(self, output: Any) -> dict[str, Any]:  # noqa: ANN401 - as LitServe has it
        """One answer."""
        return {"answer": output.tolist()}


if __name__ == "__main__":
    port, model, rows = sys.argv[1:]
    api = ReferenceModel(max_batch_size=int(rows), batch_timeout=0.002)
    api.path = model  # of this very object: it is sent to the worker's process
    litserve.LitServer(api, accelerator="cpu", fast_queue=True).run(
        host="127.0.0.1", port=int(port), generate_client_file=False, log_level="error"
    )
