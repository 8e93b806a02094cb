"""lazygrad.func: derivatives and vmap of functions, against PyTorch's and against loops."""

from __future__ import annotations

import dataclasses
import itertools
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad
from lazygrad import func
from lazygrad.errors import (
    ArgumentError,
    ArgumentTypeError,
    AxisError,
    BatchError,
    GradientError,
    LazygradError,
    ShapeError,
    TransformError,
)

F = lazygrad.nn.functional
RNG = np.random.default_rng(3)
X, W, V = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2)), RNG.standard_normal((3, 4))


def energy(T: Any) -> Any:
    return lambda x, w: T.tanh(x @ w).pow(2).sum()


def pair(T: Any) -> Any:
    return lambda x, w: (T.sin(x @ w), {"norm": x.norm(), "rows": T.softmax(x, -1)})


# (name, a function of (module, transforms, x, w, v)): every result is compared with PyTorch's
CASES: dict[str, Any] = {
    "grad": lambda T, f, x, w, v: f.grad(energy(T))(x, w),
    "grad of both": lambda T, f, x, w, v: f.grad(energy(T), argnums=(1, 0))(x, w),
    "grad from behind": lambda T, f, x, w, v: f.grad(energy(T), argnums=-1)(x, w),
    "grad with aux": lambda T, f, x, w, v: f.grad(lambda x: (x.sum() ** 2, {"twice": x * 2}), 0, True)(x),
    "grad and value": lambda T, f, x, w, v: f.grad_and_value(energy(T))(x, w),
    "grad of grad": lambda T, f, x, w, v: f.grad(lambda x: f.grad(energy(T))(x, w).pow(2).sum())(x),
    "grad of what is unused": lambda T, f, x, w, v: f.grad(lambda a, b: (a * 2).sum(), (0, 1))(x, w),
    "vjp": lambda T, f, x, w, v: f.vjp(lambda x: T.exp(x) * x, x)[1](v),
    "vjp of a pair": lambda T, f, x, w, v: [
        f.vjp(pair(T), x, w)[1](f.vjp(pair(T), x, w)[0]) for _ in range(2)],
    "vjp twice": lambda T, f, x, w, v: [g(c) for g in [f.vjp(T.sin, x)[1]] for c in (v, 2 * v)],
    "jvp": lambda T, f, x, w, v: f.jvp(lambda x: T.softmax(x @ w, 0), (x,), (v,)),
    "jvp of a pair": lambda T, f, x, w, v: f.jvp(pair(T), (x, w), (v, w)),
    "jvp of jvp": lambda T, f, x, w, v: f.jvp(lambda x: f.jvp(T.sin, (x,), (v,))[1], (x,), (v,)),
    "jvp of grad": lambda T, f, x, w, v: f.jvp(lambda x: f.grad(energy(T))(x, w), (x,), (v,)),
    "grad of jvp": lambda T, f, x, w, v: f.grad(lambda x: f.jvp(T.sin, (x,), (v,))[1].sum())(x),
    "linearize": lambda T, f, x, w, v: f.linearize(lambda x: x * T.cos(x), x)[1](v),
    "jacrev": lambda T, f, x, w, v: f.jacrev(lambda x: x @ w)(x),
    "jacrev in chunks": lambda T, f, x, w, v: f.jacrev(lambda x: T.sin(x @ w), chunk_size=4)(x),
    "jacrev of a pair": lambda T, f, x, w, v: f.jacrev(pair(T), (0, 1))(x, w),
    "jacfwd": lambda T, f, x, w, v: f.jacfwd(lambda x: T.sin(x @ w))(x),
    "jacfwd of a pair": lambda T, f, x, w, v: f.jacfwd(pair(T), (0, 1))(x, w),
    "jacrev of a number": lambda T, f, x, w, v: f.jacrev(lambda x: x**3)(x[0, 0]),
    "hessian": lambda T, f, x, w, v: f.hessian(energy(T), (0, 1))(x, w),
    "hessian other ways": lambda T, f, x, w, v: [
        a(b(lambda x: (x**3 * w.sum()).sum()))(x[0])
        for a, b in itertools.product((f.jacrev, f.jacfwd), repeat=2)],
    "vmap": lambda T, f, x, w, v: f.vmap(T.dot)(x, v),
    "vmap of one argument": lambda T, f, x, w, v: f.vmap(lambda x, w: x @ w, in_dims=(0, None))(x, w),
    "vmap along other dims": lambda T, f, x, w, v: f.vmap(lambda a, b: (a * b, a), in_dims=(1, -1),
                                                          out_dims=(1, -1))(x, v),
    "vmap of a dict": lambda T, f, x, w, v: f.vmap(lambda d, y: {"s": d["x"] + y, "t": d["w"].sum()},
                                                   in_dims=({"x": 0, "w": None}, 0))({"x": x, "w": w}, v),
    "vmap in chunks": lambda T, f, x, w, v: f.vmap(lambda a: a.cumsum(0), chunk_size=2)(x),
    "vmap of vmap": lambda T, f, x, w, v: f.vmap(f.vmap(lambda a, b: T.stack([a, b, a * b])))(x, v),
    "vmap of inner grads": lambda T, f, x, w, v: f.vmap(f.grad(energy(T)), in_dims=(0, None))(x, w),
    "outer products": lambda T, f, x, w, v: f.vmap(f.vmap(T.mul, (None, 0)), (0, None))(x[0], v[0]),
    "vmap of indices": lambda T, f, x, w, v: f.vmap(lambda a: a[a.argsort()[:2]])(x),
    "vmap of gather": lambda T, f, x, w, v: f.vmap(
        lambda a, i: T.gather(a, 0, i))(x, T.tensor([[0, 3], [1, 1], [2, 0]], device=x.device)),
    "vmap over a shared table": lambda T, f, x, w, v: f.vmap(
        lambda i: x[i], in_dims=0)(T.tensor([[0, 2], [1, 1]])),
    "vmap of scatter": lambda T, f, x, w, v: f.vmap(
        lambda a, i: a.scatter_add(0, i, a[:2] * 2))(x, T.tensor([[0, 3], [1, 1], [2, 0]], device=x.device)),
    "vmap of shapes": lambda T, f, x, w, v: f.vmap(
        lambda a: T.cat([a.view(2, 2).t().flip(0).reshape(-1), a.unfold(0, 2, 1).sum(1), a.roll(1)]))(x),
    "vmap of topk": lambda T, f, x, w, v: f.vmap(lambda a: tuple(a.topk(2)))(x),
    "vmap of what is constant": lambda T, f, x, w, v: f.vmap(lambda a: T.ones(2))(x),
    "vmap of a write": lambda T, f, x, w, v: f.vmap(lambda a: a.clone().mul_(2).add_(1))(x),
    "vmap of jvp": lambda T, f, x, w, v: f.vmap(lambda a, b: f.jvp(T.sin, (a,), (b,))[1])(x, v),
    "vmap of where": lambda T, f, x, w, v: f.vmap(lambda a: T.where(a > 0, a, a * 0.1))(x),
    "vmap over nothing": lambda T, f, x, w, v: f.vmap(lambda a: a.sum())(x[:0]),
}


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key])]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple | list) else [value]


@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name: str) -> None:
    torch = pytorch()
    theirs = CASES[name](torch, torch.func, *map(torch.tensor, (X, W, V)))
    ours = CASES[name](lazygrad, func, *map(lazygrad.tensor, (X, W, V)))
    assert len(leaves(ours)) == len(leaves(theirs)) and isinstance(ours, tuple) == isinstance(theirs, tuple)
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        assert a.requires_grad == b.requires_grad
        check(a, b, 1e-9, 1e-11)


@pytest.mark.parametrize("name", ["hessian", "vmap of inner grads", "vmap of scatter", "vmap of shapes"])
def test_on_devices(name: str, device: str) -> None:
    want, got = (CASES[name](lazygrad, func, *(lazygrad.tensor(v, device=d) for v in (X, W, V)))
                 for d in ("NUMPY", device))
    for a, b in zip(leaves(got), leaves(want), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)


class Net(lazygrad.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = lazygrad.nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.norm = lazygrad.nn.GroupNorm(3, 3)
        self.out = lazygrad.nn.Linear(12, 5)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2, 1)
        return self.out(F.pad(x, (0, 1, 0, 1))[..., :2, :2].flatten(1))


def test_gradients_of_each_example() -> None:
    lazygrad.manual_seed(0)
    net, x, y = Net(), lazygrad.randn(4, 2, 6, 6), lazygrad.tensor([0, 3, 4, 1])
    params = {k: p.detach() for k, p in net.named_parameters()}

    def loss(params: Any, x: Any, y: Any) -> Any:
        return F.cross_entropy(func.functional_call(net, params, (x[None],)), y[None])

    got = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(params, x, y)
    for i in range(4):
        net.zero_grad()
        F.cross_entropy(net(x[i : i + 1]), y[i : i + 1]).backward()
        for name, p in net.named_parameters():
            np.testing.assert_allclose(got[name][i].numpy(), p.grad.numpy(), rtol=2e-4, atol=2e-6)


def test_ensemble() -> None:
    nets = [Net() for _ in range(3)]
    params, buffers = func.stack_module_state(nets)
    x = lazygrad.randn(5, 2, 6, 6)
    got = func.vmap(lambda p, b: func.functional_call(nets[0], (p, b), x))(params, buffers)
    got.sum().backward()
    for i, net in enumerate(nets):
        np.testing.assert_allclose(got[i].detach().numpy(), net(x).detach().numpy(), rtol=1e-4, atol=1e-5)
        net(x).sum().backward()
        got_grad, want_grad = params["out.weight"].grad[i], net.out.weight.grad
        np.testing.assert_allclose(got_grad.numpy(), want_grad.numpy(), rtol=1e-4, atol=1e-5)


def test_functional_call_puts_things_back() -> None:
    net = lazygrad.nn.Linear(2, 2)
    before = net.weight
    zeros = {"weight": lazygrad.zeros(2, 2), "bias": lazygrad.zeros(2)}
    assert func.functional_call(net, zeros, lazygrad.ones(1, 2)).tolist() == [[0, 0]]
    assert net.weight is before
    with pytest.raises(LazygradError):
        func.functional_call(net, zeros, lazygrad.ones(1, 3))
    assert net.weight is before
    with pytest.raises(ArgumentError, match="unexpected keys \\['other'\\]"):
        func.functional_call(net, {"other": before}, lazygrad.ones(1, 2), strict=True)


def test_gradients_flow_around_and_through() -> None:
    x = lazygrad.tensor(X, requires_grad=True)
    func.vmap(func.grad(lambda a: (a**3).sum()))(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * X)
    w = lazygrad.tensor(2.0, dtype=lazygrad.float64, requires_grad=True)
    y, pull = func.vjp(lambda a: a * w, lazygrad.tensor(X))
    assert y.requires_grad and pull(y.detach())[0].requires_grad
    pull(lazygrad.ones(3, 4).double())[0].sum().backward()
    assert w.grad.item() == 12
    assert x.grad is not None and func.grad(lambda a: a**2)(lazygrad.tensor(3.0)).requires_grad is False
    with lazygrad.no_grad():
        assert func.grad(lambda a: a * a * w)(lazygrad.tensor(3.0)).item() == 12


Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Weights:
    scale: Any
    shift: Any
    note: str = "kept"


def test_nested_arguments() -> None:
    one, two = lazygrad.tensor(1.0), lazygrad.tensor(2.0)
    tree = OrderedDict(p=Point(one, [two]), q=(two,))
    g = func.grad(lambda t: t["p"].x * 3 + t["p"].y[0] ** 2 + t["q"][0])(tree)
    assert type(g) is OrderedDict and type(g["p"]) is Point
    assert [v.item() for v in leaves(g)] == [3, 4, 1]
    with pytest.raises(ArgumentTypeError, match="expected tensors"):
        func.grad(lambda w: w.scale)(Weights(one, two))
    value, g = func.value_and_grad(lambda w: w["a"].scale * w["a"].shift)({"a": Weights(one, two, two)})
    assert value.item() == 2 and (g["a"].scale.item(), g["a"].shift.item(), g["a"].note.item()) == (2, 1, 0)


def test_random_numbers() -> None:
    x = lazygrad.zeros(3)
    lazygrad.manual_seed(1)
    different = func.vmap(lambda a: a + lazygrad.rand(2), randomness="different")(x)
    after = lazygrad.rand(2)
    lazygrad.manual_seed(1)
    assert different.equal(lazygrad.rand(3, 2)) and after.equal(lazygrad.rand(2))
    same = func.vmap(lambda a: a + lazygrad.rand(2), randomness="same")(x)
    assert same[0].equal(same[2])
    nested = func.vmap(func.vmap(lambda a: a + lazygrad.rand(()), randomness="different"),
                       randomness="different")(lazygrad.zeros(4, 5))
    assert nested.unique().numel() == 20
    dropped = func.vmap(lambda a: F.dropout(a, 0.5), randomness="different")(lazygrad.ones(4, 64))
    assert not dropped[0].equal(dropped[1])
    with pytest.raises(BatchError, match="randomness"):
        func.vmap(lambda a: a + lazygrad.rand(2))(x)


def test_values_cannot_be_read_inside() -> None:
    kept: list[Any] = []
    x = lazygrad.ones(3, 2)
    for f in (lambda a: a * a.sum().item(), lambda a: a if a.sum() > 0 else -a, lambda a: a[a > 0], repr,
              lambda a: a.nonzero()):
        with pytest.raises(BatchError, match="one example"):
            func.vmap(f)(x)
    y = lazygrad.arange(3.0) * 2  # not realized yet, and shares work with the examples

    def leaks(a: Any) -> Any:
        kept.append(a + 1)
        assert y.sum().item() == 6
        return a

    func.vmap(leaks)(y)
    with pytest.raises(BatchError, match="one example"):
        kept[0].item()
    assert (y + 1).tolist() == [1, 3, 5]


def test_writes_reach_the_argument() -> None:
    x = lazygrad.zeros(2, 3)
    func.vmap(lambda a: a.add_(1), in_dims=1)(x)
    assert x.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_indices_are_checked_for_every_example() -> None:
    table, index = lazygrad.arange(4.0), lazygrad.tensor([0, 3, 1])
    assert func.vmap(lambda i: table[(i * 2) // 2])(index).tolist() == [0, 3, 1]
    with pytest.raises(lazygrad.errors.OutOfBoundsError, match="index 4"):
        func.vmap(lambda i: table[i + 1])(index)


def test_under_jit() -> None:
    @lazygrad.jit
    def step(w: Any, x: Any) -> Any:
        g = func.vmap(func.grad(lambda w, x: (w * x).tanh().sum()), in_dims=(None, 0))(w, x)
        return g.pow(2).sum(1)

    for k in range(4):
        w, x = lazygrad.randn(5), lazygrad.randn(3, 5) + k
        want = [((1 - np.tanh(w.numpy() * r) ** 2) * r) ** 2 for r in x.numpy()]
        np.testing.assert_allclose(step(w, x).numpy(), np.sum(want, 1), rtol=1e-4)


def test_it_is_one_kernel_for_all_examples() -> None:
    x, w = lazygrad.randn(64, 32).realize(), lazygrad.randn(32, 32).realize()
    text = lazygrad.explain(func.vmap(lambda a: (w @ a).relu())(x))
    assert text.count("kernel 1 of 1") == 1


@pytest.mark.parametrize("call, error, words", [
    (lambda: func.grad(lambda x: x)(lazygrad.ones(2)), ShapeError, "scalar"),
    (lambda: func.grad(lambda x: (x, x))(lazygrad.tensor(1.0)), ArgumentTypeError, "single tensor"),
    (lambda: func.grad(lambda x: x)(lazygrad.tensor(1)), TransformError, "floating point"),
    (lambda: func.grad(lambda x: x)(1.0), ArgumentTypeError, "lazygrad.tensor"),
    (lambda: func.grad(lambda x: x, 1)(lazygrad.tensor(1.0)), ArgumentError, "argnum=1"),
    (lambda: func.grad(lambda x: 3.0)(lazygrad.tensor(1.0)), TransformError, "only tensors"),
    (lambda: func.vjp(lambda x: x, lazygrad.ones(2))[1](lazygrad.ones(3)), ShapeError, "cotangents of shape"),
    (lambda: func.jvp(lambda x: x, (lazygrad.ones(2),), (lazygrad.ones(3),)), ShapeError, "tangents of"),
    (lambda: func.jvp(lambda x: x, lazygrad.ones(2), (lazygrad.ones(2),)), ArgumentTypeError, "tuple"),
    (lambda: func.vmap(lambda x: x)(), ArgumentError, "no inputs"),
    (lambda: func.vmap(lambda x: x)(3), ArgumentError, "at least one"),
    (lambda: func.vmap(lambda x: x)(lazygrad.tensor(1.0)), TransformError, "in_dim=0"),
    (lambda: func.vmap(lambda x, y: x)(lazygrad.ones(2), lazygrad.ones(3)), ShapeError, "same size"),
    (lambda: func.vmap(lambda x: 3.0)(lazygrad.ones(2)), TransformError, "only tensors"),
    (lambda: func.vmap(lambda x: x, out_dims=2)(lazygrad.ones(2)), AxisError, "out_dim=2"),
    (lambda: func.vmap(lambda x: x, in_dims=(0, 0))(lazygrad.ones(2)), ArgumentError, "structure"),
    (lambda: func.vmap(lambda x: x, randomness="some"), ArgumentError, "randomness"),
])
def test_mistakes(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_gradients_by_captured_tensors() -> None:
    w, b = lazygrad.tensor([1.0, 2.0]), lazygrad.tensor(0.5, requires_grad=True)
    x = lazygrad.tensor([3.0, 4.0])
    h = b * 2  # not a leaf

    def f(x: Any) -> Any:
        return (w * w * x).sum() * b + h

    value, g = func.value_and_grad(f, captured={"w": w, "rest": (b, [h])})(x)
    assert value.item() == 19 * 0.5 + 1 and g["w"].tolist() == [3, 8]
    assert g["rest"][0].item() == 19 and g["rest"][1][0].item() == 1
    both, by_w = func.grad(f, argnums=(0,), captured=w)(x)
    assert both[0].tolist() == [0.5, 2] and by_w.tolist() == [3, 8]
    assert not w.requires_grad and w.is_leaf and b.grad is None and h.grad_fn.name() == "MulBackward0"
    value, pull = func.vjp(f, x, captured=[w, w])
    for seed in (1.0, 2.0):  # again with another seed
        by_x, (first, second) = pull(lazygrad.tensor(seed))
        assert by_x.tolist() == [0.5 * seed, 2 * seed]
        assert first.tolist() == second.tolist() == [3 * seed, 8 * seed]
    assert func.vjp(lambda: w.sin(), captured=w)[1](lazygrad.ones(2)).equal(w.cos())
    assert func.jacobian(lambda: w * w, captured=w)().tolist() == [[2, 0], [0, 4]]
    second = func.grad(lambda: func.grad(lambda: (w**3).sum(), captured=w)().sum(), captured=w)()
    assert second.tolist() == [6, 12]
    assert func.grad(lambda y: func.grad(lambda: (w * y).sin().sum(), captured=w)().sum())(x).allclose(
        (w * x).cos() - w * x * (w * x).sin())
    outer = func.grad(lambda: f(x), captured=w)()
    (through,) = lazygrad.autograd.grad(outer.sum(), b)  # the graph around is differentiated as ever
    assert through.item() == 22


def test_gradients_by_the_parameters_of_a_module() -> None:
    model = lazygrad.nn.Sequential(lazygrad.nn.Linear(3, 4), lazygrad.nn.Tanh(), lazygrad.nn.Linear(4, 1))
    x = lazygrad.randn(5, 3)
    found = func.grad(lambda: model(x).square().mean(), captured=dict(model.named_parameters()))()
    assert all(p.grad is None for p in model.parameters())
    model(x).square().mean().backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(found[name].detach().numpy(), p.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_what_is_captured_is_given_back() -> None:
    w = lazygrad.tensor([1.0, 2.0])

    def breaks() -> Any:
        raise KeyError("no")

    with pytest.raises(KeyError):
        func.grad(breaks, captured=w)()
    with pytest.raises(GradientError, match="wrote to a captured"):
        func.grad(lambda: w.mul_(2).sum(), captured=w)()
    with pytest.raises(ArgumentTypeError, match="expected tensors"):
        func.grad(lambda: w.sum(), captured=3.0)()
    with pytest.raises(TransformError, match="floating point"):
        func.vjp(lambda: w.sum(), captured=lazygrad.tensor(1))
    assert w.tolist() == [1, 2] and not w.requires_grad
    w += 1
    assert w.tolist() == [2, 3]
