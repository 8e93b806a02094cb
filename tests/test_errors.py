"""User mistakes are errors of a class that PyTorch users catch, raised at the call, that name the operation
and the cure."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lazygrad as torch
import lazygrad.nn as nn
import lazygrad.nn.functional as F
from lazygrad import config, optim
from lazygrad.errors import (
    ArgumentError,
    ArgumentTypeError,
    AxisError,
    DeviceError,
    DTypeError,
    GradientError,
    LazygradError,
    OutOfBoundsError,
    OutOfMemoryError,
    SettingError,
    ShapeError,
)

ROOT = Path(__file__).parent.parent


def ones(*shape):
    return torch.ones(*shape)


def leaf(*shape):
    return torch.ones(*shape, requires_grad=True)


def index(*values):
    return torch.tensor(values)


# what is done, the class (and the built-in that it also is), words of the message
MISTAKES = {
    # shapes
    "add": (lambda: ones(3, 4) + ones(3, 5), RuntimeError, "[add]", "4", "5"),
    "matmul": (lambda: ones(3, 4) @ ones(3, 5), RuntimeError, "[matmul]", "(3, 4)", "(3, 5)"),
    "reshape": (lambda: ones(3, 4).reshape(5, 2), RuntimeError, "[reshape]", "[5, 2]", "12"),
    "view": (lambda: ones(3, 4).t().view(12), RuntimeError, "[view]", "reshape"),
    "expand": (lambda: ones(3, 4).expand(5, 4), RuntimeError, "[expand]", "3", "5"),
    "cat": (lambda: torch.cat([ones(2, 3), ones(2, 4)]), RuntimeError, "[cat]", "3", "4"),
    "stack": (lambda: torch.stack([ones(2), ones(3)]), RuntimeError, "[stack]", "[2]", "[3]"),
    "conv2d": (lambda: F.conv2d(ones(1, 3, 8, 8), ones(4, 2, 3, 3)), RuntimeError, "[conv2d]", "3", "2"),
    "einsum": (lambda: torch.einsum("ij,jk->ik", ones(2, 3), ones(4, 5)), RuntimeError, "[einsum]", "3", "4"),
    "linear": (lambda: nn.Linear(3, 4)(ones(2, 5)), RuntimeError, "[", "5", "3"),
    "cross_entropy": (
        lambda: F.cross_entropy(ones(3, 4), index(0, 1)),
        ValueError,
        "[cross_entropy]",
        "3",
        "2",
    ),
    "write": (lambda: ones(3, 4).__setitem__(0, ones(5)), RuntimeError, "[setitem]", "5", "4"),
    # axes
    "sum axis": (lambda: ones(3, 4).sum(2), IndexError, "[sum]", "2"),
    "softmax axis": (lambda: ones(3, 4).softmax(-3), IndexError, "[softmax]", "-3"),
    "transpose axis": (lambda: ones(3, 4).transpose(0, 5), IndexError, "[transpose]", "5"),
    "squeeze axis": (lambda: ones(3, 1).squeeze(4), IndexError, "[squeeze]", "4"),
    "same axis twice": (lambda: ones(3, 4).sum((0, 0)), RuntimeError, "[sum]", "0"),
    # dtypes
    "shift of floats": (lambda: ones(3) << 1, RuntimeError, "["),
    "mean of integers": (lambda: index(1, 2).mean(), RuntimeError, "[mean]", "Long", ".float()"),
    "float index": (lambda: ones(3)[ones(2)], IndexError, "[index]", "float32"),
    "dtype name": (lambda: torch.ones(3, dtype="float3"), TypeError, "[", "float3"),
    "embedding of floats": (lambda: F.embedding(ones(2), ones(3, 4)), RuntimeError, "[embedding]", "float32"),
    "gradient of integers": (lambda: torch.tensor([1, 2], requires_grad=True), RuntimeError, "float"),
    # indices
    "index": (lambda: ones(3)[5], IndexError, "[index]", "5", "3"),
    "negative index": (lambda: ones(3)[-4], IndexError, "[index]", "-4", "3"),
    "too many indices": (lambda: ones(3)[0, 0], IndexError, "[index]", "2", "1"),
    "mask": (lambda: ones(3)[torch.tensor([True, False])], IndexError, "[index]", "2", "3"),
    "assigned index": (lambda: ones(3).__setitem__(7, 1.0), IndexError, "[index]", "7", "3"),
    # tensor indices: never a silent 0
    "tensor index": (lambda: ones(3)[index(0, 3)], IndexError, "[index]", "3"),
    "embedding index": (lambda: F.embedding(index(0, 9), ones(4, 2)), IndexError, "[embedding]", "9", "4"),
    "gather index": (lambda: ones(3).gather(0, index(4)), RuntimeError, "[gather]", "4", "3"),
    "index_select": (lambda: ones(3).index_select(0, index(-1)), IndexError, "[index_select]", "-1"),
    "scatter index": (
        lambda: torch.zeros(3).scatter(0, index(5), ones(1)),
        RuntimeError,
        "[scatter]",
        "5",
        "3",
    ),
    "class index": (lambda: F.cross_entropy(ones(2, 4), index(0, 4)), IndexError, "[", "4"),
    # devices and settings
    "device": (lambda: ones(3).to("tpu"), RuntimeError, "[device]", "tpu", "cpu"),
    "device number": (lambda: ones(3).to("cpu:1:2"), RuntimeError, "[device]", "cpu:1:2"),
    "two devices": (
        lambda: ones(3) + torch.ones(3, device="numpy"),
        RuntimeError,
        "[add]",
        "cpu",
        "numpy",
        ".to(",
    ),
    "setting": (lambda: config.get("DEBUGG"), ValueError, "[setting]", "DEBUGG", "DEBUG"),
    "setting value": (
        lambda: config.override(DEBUG=9).__enter__(),
        ValueError,
        "[setting]",
        "DEBUG='9'",
        "0 to 7",
    ),
    # gradients
    "backward of integers": (lambda: index(1).backward(), RuntimeError, "[backward]"),
    "backward without gradient": (lambda: ones(1).backward(), RuntimeError, "[backward]", "requires"),
    "backward of many": (lambda: (leaf(3) * 2).backward(), RuntimeError, "[backward]", "scalar"),
    "backward twice": (lambda: twice(leaf(3)), RuntimeError, "[backward]", "retain_graph"),
    "gradient shape": (lambda: (leaf(3) * 2).backward(ones(4)), RuntimeError, "[backward]", "4", "3"),
    "write to a leaf": (lambda: leaf(3).add_(1), RuntimeError, "[add_]", "leaf", "no_grad"),
    "numpy of a leaf": (lambda: leaf(3).numpy(), RuntimeError, "[numpy]", "detach"),
    # optimizers
    "no parameters": (lambda: optim.SGD([], lr=0.1), ValueError, "[", "empty"),
    "not parameters": (lambda: optim.Adam([3.0]), TypeError, "[", "float"),
    "not leaves": (lambda: optim.SGD([leaf(3) * 2], lr=0.1), ValueError, "[", "leaf"),
    "learning rate": (lambda: optim.Adam([leaf(3)], lr=-1), ValueError, "[", "-1"),
    # views
    "expanded view": (lambda: ones(3, 1).expand(3, 4).add_(1), RuntimeError, "[add_]", "expanded", "clone"),
    "expanded item": (lambda: ones(1).expand(4).__setitem__(slice(None), 2.0), RuntimeError, "expanded"),
    # values
    "item": (lambda: ones(3).item(), RuntimeError, "[item]", "3"),
    "bool": (lambda: bool(ones(3)), RuntimeError, "[bool]", "ambiguous"),
}


def twice(x):
    loss = x.exp().sum()
    loss.backward()
    loss.backward()


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_raise_at_the_call(name):
    work, builtin, *words = MISTAKES[name]
    with pytest.raises(LazygradError) as caught:
        work()
    message = str(caught.value)
    assert isinstance(caught.value, builtin), f"{type(caught.value).__mro__}"
    assert re.match(r"\[[\w.]+\] ", message), message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    "name",
    sorted(
        set(MISTAKES)
        - {
            "setting",
            "setting value",
            "item",
            "bool",
            "not parameters",
            "mask",
            "same axis twice",
            "device",
            "two devices",
            "dtype name",
            "device number",
            "float index",
        }
    ),
)
def test_pytorch_raises_there_too(name, monkeypatch):
    theirs = pytest.importorskip("torch")
    for mine, other in (
        ("torch", theirs),
        ("nn", theirs.nn),
        ("F", theirs.nn.functional),
        ("optim", theirs.optim),
    ):
        monkeypatch.setitem(globals(), mine, other)
    work, builtin, *_ = MISTAKES[name]
    with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)) as caught:
        work()
    assert isinstance(caught.value, builtin), f"PyTorch raises {caught.value!r}"


@pytest.mark.parametrize(
    "error,builtin",
    [
        (ShapeError, RuntimeError),
        (DTypeError, RuntimeError),
        (ArgumentError, ValueError),
        (ArgumentTypeError, TypeError),
        (AxisError, IndexError),
        (OutOfBoundsError, IndexError),
        (GradientError, RuntimeError),
        (DeviceError, RuntimeError),
        (OutOfMemoryError, RuntimeError),
        (SettingError, ValueError),
    ],
)
def test_classes_are_what_pytorch_users_catch(error, builtin):
    assert issubclass(error, builtin) and issubclass(error, LazygradError)


def test_an_index_that_is_computed_later_is_still_checked():
    places = torch.arange(4) * torch.tensor(2)
    with pytest.raises(IndexError):
        ones(3)[places].tolist()


@pytest.mark.parametrize("device", ["CPU", "NUMPY", "CL"])
def test_out_of_memory(device):
    if device == "CL":
        pytest.importorskip("pyopencl")
    huge = torch.ones(1 << 31, 1 << 15, device=device) * torch.rand(1, device=device)
    with pytest.raises(OutOfMemoryError, match=r"^\[allocate\] " + device + ": ") as caught:
        huge.realize()
    assert "smaller tensors" in str(caught.value)
    assert device == "NUMPY" or re.search(r"\d+ bytes asked, \d+ in use", str(caught.value))
    assert (torch.ones(3, device=device) + 1).tolist() == [2.0] * 3, "the device works on"


def run_program(text, **settings):
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **settings}
    )


def test_an_environment_variable_with_a_wrong_value():
    done = run_program("import lazygrad; lazygrad.ones(3)", DEVICE="GPU")
    assert "SettingError: [setting] DEVICE='GPU': expected CPU, CL, CL:n or NUMPY" in done.stderr


def test_no_opencl_platform():
    pytest.importorskip("pyopencl")
    done = run_program(
        "import lazygrad; print((lazygrad.ones(3) + 1).tolist())",
        DEVICE="CL",
        OCL_ICD_VENDORS="/nowhere",
        OPENCL_VENDOR_PATH="/nowhere",
        CL_PLATFORM="no such platform",
    )
    assert "DeviceError: [device] CL: " in done.stderr and "platform" in done.stderr


def test_no_pyopencl():
    hidden = "import sys; sys.modules['pyopencl'] = None; import lazygrad; "
    done = run_program(hidden + "print((lazygrad.ones(3) + 1).tolist())", DEVICE="CL")
    assert "DeviceError: [device] CL: pyopencl cannot be imported" in done.stderr
    assert "pip install" in done.stderr
    done = run_program(hidden + "print((lazygrad.ones(3) + 1).tolist())", DEVICE="CPU")
    assert done.stdout.strip() == "[2.0, 2.0, 2.0]", done.stderr


def test_a_missing_opencl_device():
    pytest.importorskip("pyopencl")
    with pytest.raises(DeviceError, match=r"^\[device\] CL:77: no such device, there are \d+"):
        torch.ones(3, device="cl:77")


def test_errors_show_plain_numbers():
    with pytest.raises(ShapeError) as caught:
        torch.tensor(np.ones((2, 3))) @ torch.tensor(np.ones((2, 3)))
    assert "np." not in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [torch.optim.Optimizer, torch.optim.Adam, torch.distributions.Distribution, torch.amp.GradScaler,
     torch.utils.data.DataLoader, torch.nn.Linear],
)
def test_constructors_are_guarded_once(kind: type) -> None:
    assert not hasattr(kind.__init__.__wrapped__, "__wrapped__")
