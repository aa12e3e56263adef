"""Where the weights of an ONNX graph lie: small ones inside the graph, large ones in files beside it.

No file grows past `MAX_FILE_BYTES`, because Git hosts refuse files over 100 MB. ONNX lets every tensor
name its own file, and ONNX Runtime maps each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

__all__ = ["INLINE_BYTES", "MAX_FILE_BYTES", "TensorStore"]

MAX_FILE_BYTES = 90_000_000
INLINE_BYTES = 16 * 1024
ALIGNMENT = 4096  # a page: a tensor that starts on one can be mapped without copying


@dataclass(slots=True)
class TensorStore:
    """Writes tensors to `folder` as they come and remembers how the graph refers to them."""

    folder: Path
    file_limit: int = MAX_FILE_BYTES
    initialisers: list[TensorProto] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    _current: BinaryIO | None = None

    def __enter__(self) -> TensorStore:
        return self

    def __exit__(self, *_: object) -> None:
        if self._current is not None:
            self._current.close()

    def add(self, name: str, array: NDArray[Any]) -> str:
        """Store one tensor and return its name."""
        array = np.ascontiguousarray(array)
        tensor = TensorProto(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape
        )
        if array.nbytes <= INLINE_BYTES:
            tensor.raw_data = array.tobytes()
        else:
            _point(tensor, *self._write(array), array.nbytes)
        self.initialisers.append(tensor)
        return name

    def alias(self, name: str, of: str, shape: tuple[int, ...]) -> str:
        """The bytes of tensor `of` under another shape, stored once."""
        source = next(t for t in self.initialisers if t.name == of)
        twin = TensorProto()
        twin.CopyFrom(source)
        twin.name = name
        del twin.dims[:]
        twin.dims.extend(shape)
        self.initialisers.append(twin)
        return name

    def _write(self, array: NDArray[Any]) -> tuple[str, int]:
        """Append the bytes to a data file; returns its name and the offset."""
        if self._current is None or self._current.tell() + array.nbytes > self.file_limit:
            self._open_next()
        assert self._current is not None
        self._current.write(b"\0" * (-self._current.tell() % ALIGNMENT))
        offset = self._current.tell()
        self._current.write(array.data)
        return self.files[-1], offset

    def _open_next(self) -> None:
        if self._current is not None:
            self._current.close()
        number = len(self.files) + 1
        self.files.append("model.onnx.data" if number == 1 else f"model-{number}.onnx.data")
        self._current = (self.folder / self.files[-1]).open("wb")


def _point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
