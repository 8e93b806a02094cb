"""Safetensors files: byte for byte those of the package, read without it, lazily."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from torch_support import pytorch, values

import lazygrad
from lazygrad import nn, safetensors
from lazygrad.errors import DTypeError, LazygradError
from lazygrad.safetensors import numpy as safetensors_numpy

NAMES = ["bool", "uint8", "int8", "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32",
         "float64", "int64", "uint64"]


def tensors(package):
    made = {f"t {name}": package.arange(6).reshape(2, 3).to(getattr(package, name)) for name in NAMES}
    others = {"empty": package.zeros(0, 3), "single": package.tensor(2.5), "\u00e4\u03b2": package.ones(3)}
    return {**made, **others}


def test_files_are_those_of_the_package(tmp_path):
    torch = pytorch()
    theirs = pytest.importorskip("safetensors.torch")
    theirs.save_file(tensors(torch), tmp_path / "theirs", {"format": "pt"})
    safetensors.save_file(tensors(lazygrad), tmp_path / "ours", {"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert safetensors.save(tensors(lazygrad), {"format": "pt"}) == (tmp_path / "ours").read_bytes()
    got, expected = safetensors.load_file(tmp_path / "theirs"), tensors(torch)
    assert set(got) == set(expected)
    for name, x in got.items():
        assert str(x.dtype).rpartition(".")[2] == str(expected[name].dtype).rpartition(".")[2]
        np.testing.assert_array_equal(values(x), values(expected[name]))


def test_files_come_back(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.save_file(tensors(lazygrad), path)
    for got in (safetensors.load_file(path), safetensors.load(path.read_bytes()), lazygrad.load(path),
                safetensors.load_file(path, backend="pread")):
        for name, x in tensors(lazygrad).items():
            assert got[name].dtype is x.dtype and got[name].tolist() == x.tolist()
    x = safetensors.load_file(path)["t float32"]
    x += 1
    assert (x @ x.T).tolist() == [[14.0, 32.0], [32.0, 77.0]]
    assert safetensors.load_file(path)["t float32"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert lazygrad.load(path, map_location="numpy")["single"].device == "numpy"
    safetensors.save_file({"x": x}, path)  # what is mapped is another file now
    assert x.tolist() == [[1, 2, 3], [4, 5, 6]] and list(safetensors.load_file(path)) == ["x"]


def test_opening_is_lazy(tmp_path):
    path = tmp_path / "x.safetensors"
    both = {"b": lazygrad.arange(12.0).reshape(3, 4), "a": lazygrad.ones(2).bfloat16()}
    safetensors.save_file(both, path, {"k": "v"})
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        assert list(file.keys()) == ["a", "b"] and file.offset_keys() == ["b", "a"]
        assert file.metadata() == {"k": "v"}
        part = file.get_slice("b")
        assert part.get_shape() == [3, 4] and part.get_dtype() == "F32"
        assert part[1:, :2].tolist() == [[4, 5], [8, 9]]
        x = file.get_tensor("b")
        with pytest.raises(LazygradError, match="does not contain tensor c"):
            file.get_tensor("c")
    assert x.sum().item() == 66.0
    with safetensors.safe_open(path, "np") as file:
        assert isinstance(file.get_tensor("b"), np.ndarray) and file.get_tensor("a").tolist() == [1, 1]
    with pytest.raises(FileNotFoundError):
        safetensors.safe_open(tmp_path / "missing", "pt")
    with pytest.raises(LazygradError, match="framework"):
        safetensors.safe_open(path, "mlx")


def test_what_cannot_be_saved_is_told(tmp_path):
    path, x = tmp_path / "x.safetensors", lazygrad.arange(6.0).reshape(2, 3)
    safetensors.save_file({"x": x}, path)
    before = path.read_bytes()
    for bad, error, message in [
        ({"a": x, "b": x}, RuntimeError, "share memory"),
        ({"a": x, "b": x[1:]}, RuntimeError, "share memory"),
        ({"a": x.t()}, ValueError, "non contiguous"),
        ({"a": 1}, TypeError, "expected Tensor"),
        ([x], TypeError, "Expected a dict"),
        ({1: x}, TypeError, "string"),
    ]:
        with pytest.raises(error, match=message):
            safetensors.save_file(bad, path)
    with pytest.raises(TypeError, match="metadata"):
        safetensors.save_file({"x": x}, path, {"a": 1})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    safetensors.save_file({"a": x[0], "b": x[1], "c": x.new_zeros(0)}, path)  # parts that do not overlap
    assert safetensors.load_file(path)["b"].tolist() == [3, 4, 5]
    safetensors.save_file({"p": nn.Parameter(x)}, path)
    assert not safetensors.load_file(path)["p"].requires_grad


def test_types_that_lazygrad_lacks_are_named(tmp_path):
    torch = pytorch()
    theirs = pytest.importorskip("safetensors.torch")
    theirs.save_file({"a": torch.ones(2, dtype=torch.complex64), "b": torch.ones(2)}, tmp_path / "x")
    with pytest.raises(DTypeError, match="C64"):
        safetensors.load_file(tmp_path / "x")
    with safetensors.safe_open(tmp_path / "x", "pt") as file:
        assert file.get_tensor("b").tolist() == [1, 1]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.out.weight = self.embedding.weight


def test_models_with_shared_parameters(tmp_path):
    path, model = tmp_path / "x.safetensors", Tied()
    safetensors.save_model(model, path)
    with safetensors.safe_open(path, "pt") as file:
        assert list(file.keys()) == ["embedding.weight", "out.bias"]
        assert file.metadata() == {"out.weight": "embedding.weight"}
    other = Tied()
    assert safetensors.load_model(other, path) == (set(), [])
    assert other.out.weight.tolist() == model.embedding.weight.tolist()
    with pytest.raises(RuntimeError, match="Missing key"):
        safetensors.load_model(nn.Linear(2, 2), path)
    assert safetensors.load_model(nn.Linear(2, 2), path, strict=False)[0] == {"weight", "bias"}


def test_arrays(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array([True]), "c": np.float32(3).reshape(())}
    safetensors_numpy.save_file(arrays, tmp_path / "x")
    got = safetensors_numpy.load_file(tmp_path / "x")
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)
        assert got[name].dtype == array.dtype and got[name].shape == array.shape
    assert safetensors_numpy.load(safetensors_numpy.save(arrays))["a"].tolist() == arrays["a"].tolist()


def test_loaded_weights_are_copied_deeply(tmp_path):
    safetensors.save_file({"x": lazygrad.ones(3)}, tmp_path / "x")
    x = safetensors.load_file(tmp_path / "x")["x"]
    y = copy.deepcopy(x)
    y += 1
    assert x.tolist() == [1, 1, 1] and y.tolist() == [2, 2, 2]


SCRIPT = """
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
model = torch.nn.Linear(2, 3)
save_file(model.state_dict(), "x.safetensors")
other = torch.nn.Linear(2, 3)
other.load_state_dict(load_file("x.safetensors"))
with safe_open("x.safetensors", framework="pt", device="cpu") as f:
    assert torch.equal(f.get_tensor("weight"), other.weight)
torch.save({"model": model.state_dict(), "whole": model}, "x.pt")
with torch.serialization.safe_globals([torch.nn.Linear]):
    assert torch.equal(torch.load("x.pt", weights_only=False)["whole"].bias, model.bias)
import lazygrad, safetensors
assert safetensors is lazygrad.safetensors and torch is not lazygrad
print("done")
"""


def test_scripts_for_pytorch_use_ours(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "lazygrad", "run", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["done"], done.stderr
