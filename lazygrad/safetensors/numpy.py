"""Safetensors files of NumPy arrays, under the names of the module `safetensors.numpy`."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazygrad.safetensors import torch
from lazygrad.safetensors.opening import safe_open
from lazygrad.tensors.creation import tensor


def load_file(filename: Any) -> dict[str, np.ndarray]:
    """The tensors of a file as arrays, bfloat16 as float32. Raises SafetensorError, DTypeError."""
    with safe_open(filename, "np") as file:
        return file.get_tensors()


def load(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a file that is in memory, as arrays. Raises SafetensorError, DTypeError."""
    return {name: (x.float() if x.dtype.name == "bfloat16" else x).numpy()
            for name, x in torch.load(data).items()}


def save_file(
    tensor_dict: dict[str, np.ndarray], filename: Any, metadata: dict[str, str] | None = None
) -> None:
    """Write arrays to a file."""
    torch.save_file(_tensors(tensor_dict), filename, metadata)


def save(tensor_dict: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a file of arrays."""
    return torch.save(_tensors(tensor_dict), metadata)


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: tensor(np.ascontiguousarray(array), device="cpu").reshape(array.shape)
            for name, array in arrays.items()}
