"""nn.utils: clipping, vectors, weight and spectral norms, fusion, parametrizations; beside PyTorch's."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from module_support import compare, same_weights
from torch_support import pytorch

import lazygrad
from lazygrad import nn
from lazygrad.nn.utils import parametrizations, parametrize

rng = np.random.default_rng(4)


def twins(text: str) -> tuple[Any, Any]:
    """A module of PyTorch's and ours with its weights, in float64."""
    torch = pytorch()
    theirs = eval(f"nn.{text}", {"nn": torch.nn}).double()
    ours = eval(f"nn.{text}", {"nn": nn}).double().to("NUMPY")  # many small shapes: compiling takes long
    return same_weights(ours, theirs), theirs


def with_gradients(text: str = "Linear(3, 2)") -> tuple[Any, Any]:
    ours, theirs = twins(text)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        g = rng.standard_normal(a.shape)
        a.grad, b.grad = lazygrad.tensor(g, device="NUMPY"), pytorch().tensor(g)
    return ours, theirs


def gradients(module: Any) -> list:
    return [p.grad for p in module.parameters()]


# Clipping


@pytest.mark.parametrize("norm", [2, 1, 3.5, math.inf, 0.5, "inf"])
@pytest.mark.parametrize("most", [0.5, 100.0])
def test_gradients_are_clipped_to_a_norm(norm: float, most: float) -> None:
    torch = pytorch()
    ours, theirs = with_gradients()
    mine = nn.utils.clip_grad_norm_(ours.parameters(), most, norm, foreach=True)
    compare([mine], [torch.nn.utils.clip_grad_norm_(theirs.parameters(), most, norm)], "float64")
    compare(gradients(ours), gradients(theirs), "float64")


def test_gradients_are_clipped_to_a_range() -> None:
    torch = pytorch()
    ours, theirs = with_gradients()
    nn.utils.clip_grad_value_(ours.parameters(), 0.3)
    torch.nn.utils.clip_grad_value_(theirs.parameters(), 0.3)
    compare(gradients(ours), gradients(theirs), "float64")
    total = nn.utils.get_total_norm(gradients(ours))
    compare([total], [torch.nn.utils.get_total_norm(gradients(theirs))], "float64")
    nn.utils.clip_grads_with_norm_(ours.weight, 0.1, total)
    torch.nn.utils.clip_grads_with_norm_(theirs.weight, 0.1, torch.tensor(total.numpy()))
    compare(gradients(ours), gradients(theirs), "float64")


def test_norms_that_are_not_finite() -> None:
    p = nn.Parameter(lazygrad.ones(2))
    assert nn.utils.clip_grad_norm_([p], 1.0).item() == 0.0
    p.grad = lazygrad.tensor([math.inf, 1.0])
    with pytest.raises(RuntimeError, match="non-finite, so it cannot be clipped"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.tolist() == [math.inf, 1.0]
    assert nn.utils.clip_grad_norm_(p, 1.0).item() == math.inf
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_((q for q in ()), 1.0)
    with pytest.warns(FutureWarning, match="deprecated"):
        nn.utils.clip_grad_norm(p, 1.0)


def test_training_steps_with_clipping() -> None:
    """The gradients that an optimizer sees are the clipped ones."""
    p = nn.Parameter(lazygrad.tensor([3.0, 4.0]))
    optimizer = lazygrad.optim.SGD([p], lr=1.0)
    (p * p).sum().backward()
    assert nn.utils.clip_grad_norm_([p], 1.0).item() == pytest.approx(10.0)
    optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), [2.4, 3.2], rtol=1e-5)


def test_parameters_as_a_vector() -> None:
    layer = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.tolist() == layer.weight.flatten().tolist() + layer.bias.tolist()
    vector.sum().backward()
    assert layer.bias.grad.tolist() == [1.0] * 3
    nn.utils.vector_to_parameters(lazygrad.arange(9.0), layer.parameters())
    assert layer.weight.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert layer.bias.tolist() == [6.0, 7.0, 8.0]
    assert layer.weight.requires_grad
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        nn.utils.vector_to_parameters([1.0], layer.parameters())


# Weights in another form


def trained(ours: Any, theirs: Any, *shape: int, steps: int = 2) -> None:
    """Assert that both give the same outputs, gradients and states over some steps and in evaluation."""
    torch = pytorch()
    x = rng.standard_normal(shape)
    for training in [True] * steps + [False]:
        ours.train(training), theirs.train(training)
        a = lazygrad.tensor(x, requires_grad=True, device="NUMPY")
        b = torch.tensor(x, requires_grad=True)
        mine, yours = ours(a), theirs(b)
        (mine * mine).sum().backward()
        (yours * yours).sum().backward()
        compare([mine, a.grad, *gradients(ours)], [yours, b.grad, *gradients(theirs)], "float64")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    compare(list(ours.state_dict().values()), list(theirs.state_dict().values()), "float64")


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("form", ["hook", "parametrization"])
@pytest.mark.parametrize(
    ("text", "shape", "dim"),
    [
        ("Linear(3, 4)", (2, 3), 0),
        ("Linear(3, 4)", (2, 3), 1),
        ("Linear(3, 4)", (2, 3), None),
        ("Conv1d(2, 3, 2)", (1, 2, 4), 0),
        ("Conv2d(2, 3, 2)", (1, 2, 4, 4), 1),
    ],
)
def test_weight_norm(form: str, text: str, shape: tuple, dim: int | None) -> None:
    torch = pytorch()
    ours, theirs = twins(text)
    if form == "hook":
        nn.utils.weight_norm(ours, dim=dim)
        torch.nn.utils.weight_norm(theirs, dim=dim)
    else:
        parametrizations.weight_norm(ours, dim=dim)
        torch.nn.utils.parametrizations.weight_norm(theirs, dim=dim)
    trained(ours, theirs, *shape)
    weight = ours.weight.tolist()
    if form == "hook":
        assert nn.utils.remove_weight_norm(ours) is ours
        torch.nn.utils.remove_weight_norm(theirs)
    else:
        parametrize.remove_parametrizations(ours, "weight")
        torch.nn.utils.parametrize.remove_parametrizations(theirs, "weight")
    assert ours.weight.tolist() == weight
    ours.zero_grad(), theirs.zero_grad()
    trained(ours, theirs, *shape, steps=1)


@pytest.mark.parametrize("form", ["hook", "parametrization"])
@pytest.mark.parametrize(
    ("text", "shape", "options"),
    [
        ("Linear(3, 4)", (2, 3), {}),
        ("Linear(3, 4)", (2, 3), {"dim": 1, "n_power_iterations": 3}),
        ("Conv2d(2, 3, 2)", (1, 2, 4, 4), {}),
        ("ConvTranspose1d(2, 3, 2)", (1, 2, 4), {"eps": 1e-6}),
    ],
)
def test_spectral_norm(form: str, text: str, shape: tuple, options: dict) -> None:
    torch = pytorch()
    ours, theirs = twins(text)
    if form == "hook":
        nn.utils.spectral_norm(ours, **options)
        torch.nn.utils.spectral_norm(theirs, **options)
    else:
        parametrizations.spectral_norm(ours, **options)
        torch.nn.utils.parametrizations.spectral_norm(theirs, **options)
    same_weights(ours, theirs)
    trained(ours, theirs, *shape)
    if form == "hook":
        nn.utils.remove_spectral_norm(ours)
        torch.nn.utils.remove_spectral_norm(theirs)
        trained(ours, theirs, *shape, steps=1)


def test_older_weight_norm_loads_into_the_parametrization() -> None:
    ours = parametrizations.weight_norm(nn.Linear(2, 3))
    state = {"bias": lazygrad.zeros(3), "weight_g": lazygrad.ones(3, 1), "weight_v": lazygrad.ones(3, 2)}
    ours.load_state_dict(state)
    np.testing.assert_allclose(ours.weight.detach().numpy(), np.full((3, 2), 0.5**0.5), rtol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (5, 3), (3, 5), (1, 1)])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("base", [True, False])
def test_orthogonal(rows: int, columns: int, kind: str | None, base: bool) -> None:
    torch = pytorch()
    ours, theirs = twins(f"Linear({columns}, {rows}, bias=False)")
    parametrizations.orthogonal(ours, orthogonal_map=kind, use_trivialization=base)
    torch.nn.utils.parametrizations.orthogonal(theirs, orthogonal_map=kind, use_trivialization=base)
    small = ours.weight.detach().numpy()
    small = small @ small.T if rows < columns else small.T @ small
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if kind != "householder" or not base:
        compare([ours.parametrizations.weight.original], [theirs.parametrizations.weight.original], "float64")
    same_weights(ours, theirs)
    trained(ours, theirs, 2, columns)


# Parametrizations of the user's


def symmetric(library: Any) -> Any:
    class Symmetric(library.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    return Symmetric()


def doubled(library: Any) -> Any:
    class Doubled(library.nn.Module):
        def forward(self, x: Any) -> Any:
            return 2 * x

    return Doubled()


def test_registered_parametrizations() -> None:
    torch = pytorch()
    ours, theirs = twins("Linear(3, 3)")
    assert parametrize.register_parametrization(ours, "weight", symmetric(lazygrad)) is ours
    torch.nn.utils.parametrize.register_parametrization(theirs, "weight", symmetric(torch))
    parametrize.register_parametrization(ours, "weight", doubled(lazygrad))
    torch.nn.utils.parametrize.register_parametrization(theirs, "weight", doubled(torch))
    assert repr(ours) == repr(theirs)
    assert type(ours).__name__ == "ParametrizedLinear"
    assert parametrize.type_before_parametrizations(ours) is nn.Linear
    assert parametrize.is_parametrized(ours)
    assert not parametrize.is_parametrized(ours, "bias")
    trained(ours, theirs, 2, 3)
    other = copy.deepcopy(ours)
    assert other.weight.tolist() == ours.weight.tolist()
    assert other.parametrizations.weight.original is not ours.parametrizations.weight.original
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(ours)
    with pytest.raises(RuntimeError, match="Doubled does not implement right_inverse"):
        ours.weight = lazygrad.ones(3, 3, dtype=lazygrad.float64, device="NUMPY")
    value = ours.weight.tolist()
    parametrize.remove_parametrizations(ours, "weight")
    assert type(ours) is nn.Linear
    assert ours.weight.tolist() == value
    assert list(dict(ours.named_parameters())) == ["bias", "weight"]
    target = nn.Linear(3, 3).double()
    parametrize.transfer_parametrizations_and_params(other, target)
    assert target.weight.tolist() == value


def test_assigning_and_caching() -> None:
    layer = nn.Linear(2, 2)
    kept = layer.weight
    parametrize.register_parametrization(layer, "weight", symmetric(lazygrad))
    assert layer.parametrizations.weight.original is kept
    layer.weight = lazygrad.tensor([[1.0, 2.0], [2.0, 3.0]])
    assert layer.weight.tolist() == [[1.0, 2.0], [2.0, 3.0]]
    assert kept.tolist() == [[1.0, 2.0], [0.0, 3.0]]
    assert layer.weight is not layer.weight
    with parametrize.cached():
        assert layer.weight is layer.weight
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert layer.weight is kept
    assert kept.tolist() == [[1.0, 2.0], [0.0, 3.0]]


def test_buffers_are_parametrized_too() -> None:
    norm = nn.BatchNorm1d(2)
    parametrize.register_parametrization(norm, "running_mean", doubled(lazygrad))
    norm.parametrizations.running_mean.original.fill_(3.0)
    assert norm.running_mean.tolist() == [6.0, 6.0]
    assert "parametrizations.running_mean.original" in norm.state_dict()


class Cut(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[:1]


class Untyped(nn.Module):
    def forward(self, x: Any) -> Any:
        return 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: parametrize.register_parametrization(m, "none", Cut()),
            ValueError,
            "does not have a parameter",
        ),
        (
            lambda m: parametrize.register_parametrization(m, "weight", Cut()),
            ValueError,
            "may not change the shape",
        ),
        (
            lambda m: parametrize.register_parametrization(m, "weight", Untyped()),
            ValueError,
            "must return a tensor",
        ),
        (
            lambda m: parametrize.remove_parametrizations(m, "weight"),
            ValueError,
            "does not have a parametrization",
        ),
        (lambda m: parametrizations.orthogonal(m, "bias"), ValueError, "Expected a matrix"),
        (lambda m: parametrizations.orthogonal(m, orthogonal_map="qr"), ValueError, "has to be one of"),
        (lambda m: parametrizations.spectral_norm(m, dim=2), IndexError, "Dimension out of range"),
        (lambda m: parametrizations.spectral_norm(m, "none"), ValueError, "no parameter or buffer"),
        (lambda m: nn.utils.spectral_norm(m, n_power_iterations=0), ValueError, "to be positive"),
        (lambda m: nn.utils.remove_weight_norm(m), ValueError, "weight_norm of 'weight' not found"),
        (lambda m: nn.utils.remove_spectral_norm(m), ValueError, "spectral_norm of 'weight' not found"),
        (lambda m: nn.utils.skip_init(dict), RuntimeError, "Expected a Module"),
        (lambda m: nn.utils.skip_init(nn.ReLU), RuntimeError, "must support a 'device' arg"),
        (
            lambda m: nn.utils.fuse_conv_bn_eval(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1)),
            AssertionError,
            "only for eval",
        ),
    ],
)
def test_what_is_refused(call: Callable, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call(nn.Linear(2, 2))
    assert isinstance(caught.value, lazygrad.LazygradError)


# Fusion and the rest


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        ("Conv2d(2, 3, 2)", "BatchNorm2d(3)", (2, 2, 4, 4)),
        ("Conv1d(2, 3, 2, bias=False)", "BatchNorm1d(3)", (2, 2, 4)),
        ("ConvTranspose2d(2, 3, 2)", "BatchNorm2d(3, affine=False)", (2, 2, 4, 4)),
        ("Linear(2, 3)", "BatchNorm1d(3)", (2, 2)),
    ],
)
def test_batch_norms_fold_into_the_layer_before(layer: str, norm: str, shape: tuple) -> None:
    first, second = eval(f"nn.{layer}"), eval(f"nn.{norm}")
    for buffer in (second.running_mean, second.running_var):
        buffer.uniform_(0.5, 1.5)
    first.eval(), second.eval()
    x = lazygrad.tensor(rng.standard_normal(shape), dtype=lazygrad.float32)
    if "Linear" in layer:
        fused = nn.utils.fuse_linear_bn_eval(first, second)
    else:
        fused = nn.utils.fuse_conv_bn_eval(first, second, transpose="Transpose" in layer)
    np.testing.assert_allclose(
        fused(x).detach().numpy(), second(first(x)).detach().numpy(), rtol=1e-4, atol=1e-5
    )
    assert fused.weight.requires_grad
    assert fused.weight.is_leaf


def test_modules_without_initial_values() -> None:
    layer = nn.utils.skip_init(nn.Linear, 2, 3, dtype=lazygrad.float64)
    assert layer.weight.shape == (3, 2)
    assert layer.weight.dtype == lazygrad.float64
    assert nn.utils.convert_conv2d_weight_memory_format(layer, None) is layer
