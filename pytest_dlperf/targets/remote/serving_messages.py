"""The messages of TensorFlow Serving's prediction service, without its package.

`tensorflow-serving-api` needs a TensorFlow of its own version. Only the numbers and types of the
fields matter on the wire; they are those of `tensorflow_serving/apis` and of TensorFlow's
`tensor.proto`, `tensor_shape.proto` and `meta_graph.proto`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import RemoteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_FLOAT, _DOUBLE, _INT64, _INT32, _BOOL, _STRING, _MESSAGE, _BYTES = 2, 1, 3, 5, 8, 9, 11, 12
_UINT32, _UINT64 = 13, 4
_ONE, _MANY = 1, 3

_FIELDS: Final[dict[str, tuple[tuple[str, int, int, int, str], ...]]] = {
    "Dim": (("size", 1, _INT64, _ONE, ""),),
    "Shape": (("dim", 2, _MESSAGE, _MANY, "Dim"),),
    "Tensor": (
        ("dtype", 1, _INT32, _ONE, ""),
        ("tensor_shape", 2, _MESSAGE, _ONE, "Shape"),
        ("tensor_content", 4, _BYTES, _ONE, ""),
        ("float_val", 5, _FLOAT, _MANY, ""),
        ("double_val", 6, _DOUBLE, _MANY, ""),
        ("int_val", 7, _INT32, _MANY, ""),
        ("string_val", 8, _BYTES, _MANY, ""),
        ("int64_val", 10, _INT64, _MANY, ""),
        ("bool_val", 11, _BOOL, _MANY, ""),
        ("half_val", 13, _INT32, _MANY, ""),
        ("uint32_val", 16, _UINT32, _MANY, ""),
        ("uint64_val", 17, _UINT64, _MANY, ""),
    ),
    "Version": (("value", 1, _INT64, _ONE, ""),),
    "ModelSpec": (
        ("name", 1, _STRING, _ONE, ""),
        ("version", 2, _MESSAGE, _ONE, "Version"),
        ("signature_name", 3, _STRING, _ONE, ""),
    ),
    "NamedTensor": (("key", 1, _STRING, _ONE, ""), ("value", 2, _MESSAGE, _ONE, "Tensor")),
    "PredictRequest": (
        ("model_spec", 1, _MESSAGE, _ONE, "ModelSpec"),
        ("inputs", 2, _MESSAGE, _MANY, "NamedTensor"),
    ),
    "PredictResponse": (("outputs", 1, _MESSAGE, _MANY, "NamedTensor"),),
    "MetadataRequest": (
        ("model_spec", 1, _MESSAGE, _ONE, "ModelSpec"),
        ("metadata_field", 2, _STRING, _MANY, ""),
    ),
    "Any": (("type_url", 1, _STRING, _ONE, ""), ("value", 2, _BYTES, _ONE, "")),
    "NamedAny": (("key", 1, _STRING, _ONE, ""), ("value", 2, _MESSAGE, _ONE, "Any")),
    "MetadataResponse": (("metadata", 2, _MESSAGE, _MANY, "NamedAny"),),
    "TensorInfo": (("dtype", 2, _INT32, _ONE, ""),),
    "NamedInfo": (("key", 1, _STRING, _ONE, ""), ("value", 2, _MESSAGE, _ONE, "TensorInfo")),
    "Signature": (("inputs", 1, _MESSAGE, _MANY, "NamedInfo"),),
    "NamedSignature": (("key", 1, _STRING, _ONE, ""), ("value", 2, _MESSAGE, _ONE, "Signature")),
    "Signatures": (("signature_def", 1, _MESSAGE, _MANY, "NamedSignature"),),
}
"""Message -> name, number, type, label and message of each field; a map is a list of entries."""

_TEXT_TYPE: Final = 7
_TYPES: Final[dict[int, np.dtype[Any]]] = {
    number: np.dtype(name)
    for number, name in {
        1: "float32",
        2: "float64",
        3: "int32",
        4: "uint8",
        5: "int16",
        6: "int8",
        9: "int64",
        10: "bool",
        17: "uint16",
        19: "float16",
        22: "uint32",
        23: "uint64",
    }.items()
}
"""TensorFlow's numbers of types."""
_VALUES: Final = (
    *("float_val", "double_val", "int_val", "int64_val", "bool_val", "uint32_val", "uint64_val"),
)


def message(name: str) -> Any:  # noqa: ANN401 - a class that protobuf makes
    """The class of a message."""
    return _messages()[name]


@functools.cache
def _messages() -> dict[str, Any]:
    """All classes by name, in a pool of their own: another package may have such messages too."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    package = "pytest_dlperf.serving"
    file = descriptor_pb2.FileDescriptorProto(
        name="pytest_dlperf/serving.proto", package=package, syntax="proto3"
    )
    for message_name, fields in _FIELDS.items():
        kind = file.message_type.add(name=message_name)
        for field_name, number, type_, label, of in fields:
            reference = f".{package}.{of}" if of else None
            kind.field.add(
                name=field_name, number=number, type=type_, label=label, type_name=reference
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in _FIELDS
    }


def model_spec(model: str, version: int | None) -> Any:  # noqa: ANN401 - a message
    """Which model is asked."""
    spec = message("ModelSpec")(name=model)
    if version is not None:
        spec.version.value = version
    return spec


def tensor_of(array: NDArray[Any], number: int | None) -> Any:  # noqa: ANN401 - a message
    """An array as a tensor of this type of TensorFlow's, or of its own type.

    Raises:
        UsageError: if its numbers cannot be of that type.
    """
    tensor = message("Tensor")()
    tensor.tensor_shape.dim.extend([message("Dim")(size=length) for length in array.shape])
    if array.dtype.hasobject:
        texts = [text.encode() if isinstance(text, str) else text for text in array.flat]
        tensor.dtype = _TEXT_TYPE
        tensor.string_val.extend(texts)
        return tensor
    own = next((known for known, dtype in _TYPES.items() if dtype == array.dtype), None)
    wanted = own if number is None else number
    if wanted not in _TYPES:
        raise UsageError(f"inputs of type {array.dtype} cannot be sent", "convert the data")
    converted = array.astype(_TYPES[wanted])
    if converted.dtype.kind != "f" and not np.array_equal(converted, array):
        raise UsageError(f"the model takes {_TYPES[wanted]}, not {array.dtype}", "convert the data")
    tensor.dtype = wanted
    tensor.tensor_content = np.ascontiguousarray(converted).tobytes()
    return tensor


def array_of(tensor: Any) -> NDArray[Any]:  # noqa: ANN401 - a message
    """A tensor as an array; a RemoteError if it is of a type that is not known."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == _TEXT_TYPE:
        return np.array(list(tensor.string_val), object).reshape(shape)
    dtype = _TYPES.get(tensor.dtype)
    if dtype is None:
        raise RemoteError("malformed answer", f"a tensor of TensorFlow's type {tensor.dtype}")
    try:
        if tensor.tensor_content:
            return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
        if tensor.half_val:
            return np.array(tensor.half_val, np.uint16).view(np.float16).reshape(shape)
        values = next((list(getattr(tensor, n)) for n in _VALUES if getattr(tensor, n)), [0])
        size = int(np.prod(shape, dtype=np.int64))
        # A constant may be written once, and so may the values at the end that are alike.
        rest = [values[-1]] * (size - len(values))
        return np.array(values + rest if size else [], dtype).reshape(shape)
    except ValueError as error:
        raise RemoteError("malformed answer", f"a tensor of another size: {error}") from None


def input_types(response: Any, signature: str) -> Mapping[str, int]:  # noqa: ANN401 - a message
    """The types of the inputs of a signature, by name."""
    for entry in response.metadata:
        if entry.key == "signature_def":
            signatures = message("Signatures").FromString(entry.value.value)
            for named in signatures.signature_def:
                if named.key == signature:
                    return {each.key: each.value.dtype for each in named.value.inputs}
    raise RemoteError("malformed answer", f"metadata without the signature {signature}")
