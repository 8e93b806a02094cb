"""Several devices in one program: values, gradients and modules that move, and what may not be mixed."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
from conftest import COMPILING

import lazygrad
from lazygrad import dtypes, nn
from lazygrad.dtypes import DType
from lazygrad.errors import DeviceError
from lazygrad.tensors.core import FUNCTIONS

EVERYWHERE = ["NUMPY", *COMPILING]
PAIRS = list(itertools.permutations(EVERYWHERE, 2))
X = np.linspace(-2, 2, 21, dtype=np.float32).reshape(3, 7)


def place(tensor: lazygrad.Tensor) -> str:
    return str(tensor.device).upper()


@pytest.mark.parametrize("source,target", PAIRS)
def test_values_of_every_dtype_move_bit_for_bit(source: str, target: str) -> None:
    for d in dtypes.ALL:
        values = ([0.0, -0.0, 1.5, float("nan"), float("inf"), -3.0] if d.kind == "float"
                  else [0, 1, d.max, d.min])
        x = lazygrad.tensor(values, dtype=d, device=source)
        moved = x.to(target)
        assert place(moved) == target and moved.dtype is d
        got, want = (t.double().numpy() if d.kind == "float" else t.numpy() for t in (moved, x))
        np.testing.assert_array_equal(got, want)
        if d.kind == "float":
            np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(want[:2]))
    for shape in ((), (0,), (2, 0, 3), (1,)):
        assert lazygrad.ones(shape, device=source).to(target).shape == shape


@pytest.mark.parametrize("source,target", PAIRS)
def test_one_computation_over_two_devices(source: str, target: str) -> None:
    """A pending graph moves, is continued, comes back, and gradients take the same way home."""
    x = lazygrad.tensor(X, device=source, requires_grad=True)
    y = (x.exp() + 1).to(target)
    z = (y.T.flip(0) * y.sum(0, keepdim=True).T).to(source) + x.T
    assert (place(y), place(z)) == (target, source)
    (z * z).mean().backward()
    alone = lazygrad.tensor(X, device="NUMPY", requires_grad=True)
    e = alone.exp() + 1
    want = e.T.flip(0) * e.sum(0, keepdim=True).T + alone.T
    (want * want).mean().backward()
    assert place(x.grad) == source
    np.testing.assert_allclose(z.detach().numpy(), want.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), alone.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("source,target", PAIRS)
def test_what_moved_is_a_copy(source: str, target: str) -> None:
    x = lazygrad.tensor(X, device=source)
    view = x[1:, ::2]
    moved, whole = view.to(target), x.to(target)
    x += 1
    view.mul_(3)
    whole[0] = 7
    np.testing.assert_array_equal(moved.numpy(), X[1:, ::2])
    want = X + 1
    want[1:, ::2] *= 3
    np.testing.assert_array_equal(x.numpy(), want)
    np.testing.assert_array_equal(whole.numpy(), np.concatenate([np.full((1, 7), 7, np.float32), X[1:]]))


def test_to_where_it_is_already_is_itself() -> None:
    for name in EVERYWHERE:
        x = lazygrad.tensor(X, device=name)
        assert x.to(name) is x and x.to(x.device) is x and x.to(name.lower()) is x
        assert x.to(name, copy=True) is not x


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_module_moves_with_its_parameters(name: str) -> None:
    model = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = model(lazygrad.tensor(X)).tolist()
    model = model.to(name)
    assert {place(p) for p in (*model.parameters(), *model.buffers())} == {name}
    model[2].reset_running_stats()
    output = model(lazygrad.tensor(X, device=name))
    np.testing.assert_allclose(output.tolist(), before, rtol=1e-4, atol=1e-5)
    output.square().sum().backward()
    assert {place(p.grad) for p in model.parameters()} == {name}


@pytest.mark.parametrize("first,second", PAIRS)
def test_devices_do_not_mix(first: str, second: str) -> None:
    a, b = lazygrad.tensor(X, device=first), lazygrad.tensor(X, device=second)
    index = lazygrad.tensor([0, 1], device=second)
    mixed = {
        "add": lambda: a + b,
        "matmul": lambda: a @ b.T,
        "cat": lambda: lazygrad.cat([a, b]),
        "where": lambda: lazygrad.where(a > 0, a, b),
        "gather": lambda: a.index_select(0, index),
        "add in place": lambda: a.clone().add_(b),
    }
    for name, run in mixed.items():
        with pytest.raises(RuntimeError) as caught:
            run()
        message = str(caught.value).lower()
        assert first.lower() in message and second.lower() in message, (name, message)
    assert place(a + lazygrad.tensor(2.0, device=first)) == first
    assert place(a * 2 + np.float32(1)) == first


# what a function that takes a device is called with besides; a shape where nothing is said
GIVEN = {
    "arange": (3,), "linspace": (0, 1, 3), "logspace": (0, 1, 3), "eye": (2,), "full": ((2,), 1.0),
    "randint": (3, (2,)),
    "randperm": (3,), "normal": (0.0, 1.0, (2,)), "tril_indices": (2, 2), "triu_indices": (2, 2),
    "tensor": (1.5,), "as_tensor": (np.ones(2),), "asarray": ([1],), "scalar_tensor": (1,),
    "from_dlpack": (np.ones(2),), "empty_strided": ((2, 3), (3, 1)),
    **{f"{kind}_window": (2,) for kind in ("bartlett", "blackman", "hamming", "hann", "kaiser")},
}
OF_A_TENSOR = {"full": ((2,), 1.0), "full_like": (1,), "randint_like": (0, 3), "tensor": ([1],), "to": (),
               "cuda": (), "empty_strided": ((2, 3), (3, 1))}
# these take a device's name and ask nothing of it, or name another one
INDIFFERENT = {"__new__", "is_coalesced", "is_pinned", "pin_memory", "_resize_output_", "ipu", "mtia", "xpu"}


def takes_device(definition: object) -> bool:
    return inspect.isfunction(definition) and "device" in inspect.signature(definition).parameters


@pytest.mark.parametrize("name", sorted(n for n, f in FUNCTIONS.items() if takes_device(f)))
def test_a_creator_refuses_a_device_that_is_not_there(name: str) -> None:
    """At the call that names it; nothing is realized here."""
    given = (lazygrad.ones(3), *OF_A_TENSOR.get(name, ())) if "_like" in name else GIVEN.get(name, (2, 3))
    assert place(FUNCTIONS[name](*given, device="numpy")) == "NUMPY"
    with pytest.raises(DeviceError, match=r"^\[device\] CL"):
        FUNCTIONS[name](*given, device="cl:77")


@pytest.mark.parametrize("name", sorted(
    n for n in dir(lazygrad.Tensor) if n not in INDIFFERENT and takes_device(getattr(lazygrad.Tensor, n))))
def test_a_tensor_refuses_a_device_that_is_not_there(name: str) -> None:
    method = getattr(lazygrad.ones(3) + 1, name)
    given = OF_A_TENSOR.get(name.removeprefix("new_"), (2, 3))
    assert place(method(*given, device="numpy")) == "NUMPY"
    with pytest.raises(DeviceError, match=r"^\[device\] CL"):
        method(*given, device=lazygrad.device("cl:77"))


def test_a_module_stays_where_it_is_if_the_device_is_not_there() -> None:
    model = nn.Linear(3, 2)
    for move in (lambda: model.to("cl:77"), lambda: model.to_empty(device="cl:77"),
                 lambda: nn.Linear(3, 2, device="cl:77"), lambda: lazygrad.Tensor(2, 3, device="cl:77")):
        with pytest.raises(DeviceError, match=r"^\[device\] CL"):
            move()
    for move in (lambda: model.cuda(77), lambda: lazygrad.ones(2).to("cuda:77")):
        with pytest.raises(DeviceError, match=r"^\[device\] Torch not compiled with CUDA enabled: 'cuda'"):
            move()
    assert {place(p) for p in model.parameters()} == {place(lazygrad.ones(1))}
    assert {place(p) for p in model.cuda("numpy").parameters()} == {"NUMPY"}


@pytest.mark.parametrize("name", COMPILING)
@pytest.mark.parametrize("d", dtypes.FLOATS, ids=lambda d: d.name)
def test_a_step_in_every_float_type(name: str, d: DType) -> None:
    """A product, a softmax and their gradients in every float type, beside float64 on NUMPY."""
    tolerance = {"float16": 4e-3, "bfloat16": 4e-2, "float32": 1e-5, "float64": 1e-12}[d.name]
    results = []
    for device, dtype in ((name, d), ("NUMPY", dtypes.float64)):
        x = lazygrad.tensor(X, device=device).to(d).to(dtype).requires_grad_()
        w = lazygrad.tensor(X.T.copy() / 4, device=device).to(d).to(dtype).requires_grad_()
        y = (x @ w).softmax(-1)
        (y * y).sum().backward()
        assert y.dtype is dtype and x.grad.dtype is dtype
        results.append([t.detach().double().numpy() for t in (y, x.grad, w.grad)])
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def test_devices_of_others_can_be_named():
    for name in ("mps", "xpu:1", "hpu"):
        assert str(lazygrad.device(name)) == name
        with pytest.raises(DeviceError, match="no device"):
            lazygrad.zeros(1, device=name)
    with pytest.raises(DeviceError, match="unknown device 'foo'"):
        lazygrad.device("foo")
