"""Does an ONNX file keep all its values inside? Read from the bytes, without the onnx package.

Source: onnx.proto of ONNX 1.21 (field numbers) and the protocol-buffers wire format.
"""

from collections.abc import Iterator
from pathlib import Path

from excite.errors import ModelError

# Message -> {field number: message of that field}: every way from a model to a tensor.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEPTH = 32


def refuse_external_data(content: bytes, *, where: Path) -> None:
    """Raise where a tensor of the model names another file: such a name could point anywhere.

    Raises:
        ModelError: it does, or `content` is no ONNX model.
    """
    try:
        external = _external(memoryview(content), "model", _DEPTH)
    except (IndexError, ValueError):
        raise ModelError("this is no ONNX model, or it is cut", where=where,
                         fix="copy or export the bundle again") from None
    if external:
        raise ModelError("the ONNX model keeps values in other files", where=where,
                         why="excite reads a model in one file only, so that its checksum covers all of it",
                         fix="export it in one piece, as excite export does")


def _external(content: memoryview, message: str, depth: int) -> bool:
    if depth == 0:
        raise ValueError("nested too deeply")
    inner = _FIELDS[message]
    for number, value in _fields(content):
        if message == "tensor":
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == 1):
                return True
        elif number in inner:
            if isinstance(value, int):
                raise ValueError(f"field {number} of {message} is a number")
            if _external(value, inner[number], depth - 1):
                return True
    return False


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of a message; values of fixed size count as 0: no such field matters here."""
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(content, place)
            yield number, value
        elif kind == 2:
            size, place = _varint(content, place)
            if place + size > len(content):
                raise ValueError("a field ends behind the file")
            yield number, content[place:place + size]
            place += size
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
            yield number, 0
        else:
            raise ValueError(f"wire type {kind}")


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number has more than ten bytes")
