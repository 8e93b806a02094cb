"""NumPy's files: what NumPy writes lazygrad reads, and the other way round."""

import numpy as np
import pytest

import lazygrad
from lazygrad import serialization
from lazygrad.errors import FileFormatError


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_files_of_numpy(tmp_path, name):
    matrix = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    arrays = {"layer.weight": matrix, "big endian": matrix.astype(">f4"), "flag": np.array(True),
              "none": np.zeros((0, 3), np.int8)}
    for key, array in arrays.items():
        np.savez(tmp_path / name, **{key: array}) if name.endswith("z") else np.save(tmp_path / name, array)
        got = lazygrad.load(tmp_path / name)
        got = got[key] if name.endswith("z") else got
        assert got.tolist() == array.tolist() and got.element_size() == array.itemsize
    np.save(tmp_path / "x.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="Python objects"):
        lazygrad.load(tmp_path / "x.npy")


def test_files_for_numpy(tmp_path):
    tensors = {"a": lazygrad.arange(6.0).view(2, 3).t(), "b": lazygrad.tensor(2, requires_grad=False)}
    serialization.save_npz(tensors, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as found:
        assert {key: found[key].tolist() for key in found} == {key: x.tolist() for key, x in tensors.items()}
    with pytest.raises(TypeError, match="BFloat16"):
        serialization.save_npz({"a": lazygrad.ones(2).bfloat16()}, tmp_path / "y.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
