"""autocast against PyTorch: types of results and gradients by function; and GradScaler."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch_support import pytorch

import lazygrad


def name_of(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


def tensors(m: Any) -> dict[str, Any]:
    return {
        "x": m.ones(2, 3) * 0.5, "y": m.ones(3, 2), "s": m.ones(2, 2) * 0.5,
        "h": m.ones(2, 3, dtype=m.bfloat16) * 0.5, "d": m.ones(2, 3, dtype=m.float64),
        "image": m.ones(1, 3, 4, 4), "line": m.ones(1, 3, 4), "volume": m.ones(1, 3, 4, 4, 4),
        "classes": m.tensor([0, 1]), "b": m.ones(2, 2, 3), "c": m.ones(2, 3, 2),
    }  # fmt: skip


CASES = {
    "matmul": lambda m, F, t: m.matmul(t["x"], t["y"]),
    "operator": lambda m, F, t: t["x"] @ t["y"],
    "method": lambda m, F, t: t["x"].matmul(t["y"]),
    "mm": lambda m, F, t: m.mm(t["x"], t["y"]),
    "bmm": lambda m, F, t: m.bmm(t["b"], t["c"]),
    "baddbmm": lambda m, F, t: m.baddbmm(m.ones(2, 2, 2), t["b"], t["c"]),
    "addmm": lambda m, F, t: m.addmm(t["s"], t["x"], t["y"]),
    "mixed": lambda m, F, t: m.matmul(t["h"], t["y"]),
    "double": lambda m, F, t: m.matmul(t["d"], t["d"].T),
    "linear": lambda m, F, t: F.linear(t["x"], m.ones(4, 3), m.ones(4)),
    "einsum": lambda m, F, t: m.einsum("ij,jk->ik", t["x"], t["y"]),
    "conv1d": lambda m, F, t: F.conv1d(t["line"], m.ones(2, 3, 2)),
    "conv2d": lambda m, F, t: F.conv2d(t["image"], m.ones(2, 3, 2, 2), m.ones(2)),
    "conv_transpose2d": lambda m, F, t: F.conv_transpose2d(t["image"], m.ones(3, 2, 2, 2)),
    "conv3d": lambda m, F, t: F.conv3d(t["volume"], m.ones(2, 3, 2, 2, 2)),
    "attention": lambda m, F, t: F.scaled_dot_product_attention(t["b"], t["b"], t["b"]),
    "prelu": lambda m, F, t: F.prelu(t["x"], m.ones(1)),
    "mse_loss": lambda m, F, t: F.mse_loss(t["h"], t["x"]),
    "l1_loss": lambda m, F, t: F.l1_loss(t["h"], t["h"]),
    "smooth_l1_loss": lambda m, F, t: F.smooth_l1_loss(t["h"], t["h"]),
    "huber_loss": lambda m, F, t: F.huber_loss(t["h"], t["h"]),
    "cross_entropy": lambda m, F, t: F.cross_entropy(t["h"], t["classes"]),
    "nll_loss": lambda m, F, t: F.nll_loss(t["h"], t["classes"]),
    "bce with logits": lambda m, F, t: F.binary_cross_entropy_with_logits(t["h"], t["h"]),
    "bce": lambda m, F, t: F.binary_cross_entropy(t["h"], t["h"]),
    "kl_div": lambda m, F, t: F.kl_div(t["h"], t["h"], reduction="sum"),
    "prod": lambda m, F, t: t["h"].prod(),
    "trace": lambda m, F, t: m.trace(t["s"].bfloat16()),
    "cdist": lambda m, F, t: m.cdist(t["h"], t["h"]),
    "cat": lambda m, F, t: m.cat([t["h"], t["x"]]),
    "cat of 16 bits": lambda m, F, t: m.cat([t["h"], t["h"]]),
    "stack": lambda m, F, t: m.stack([t["h"], t["x"]]),
    "softmax": lambda m, F, t: F.softmax(t["h"], -1),
    "relu": lambda m, F, t: F.relu(t["h"]),
    "layer_norm": lambda m, F, t: F.layer_norm(t["x"], (3,)),
    "sum": lambda m, F, t: t["h"].sum(),
    "exp": lambda m, F, t: t["h"].exp(),
    "add": lambda m, F, t: t["h"] + t["x"],
    "module": lambda m, F, t: m.nn.Sequential(m.nn.Linear(3, 3), m.nn.ReLU(), m.nn.Linear(3, 2))(t["x"]),
    "module norm": lambda m, F, t: m.nn.Sequential(m.nn.Conv2d(3, 4, 1), m.nn.BatchNorm2d(4))(t["image"]),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_types_under_autocast(name: str, dtype: str) -> None:
    if dtype == "float16" and name in ("cat", "cat of 16 bits", "stack"):
        pytest.skip("PyTorch has an error of its own there")
    found = []
    for m in (lazygrad, pytorch()):
        with m.autocast("cpu", dtype=getattr(m, dtype)):
            found.append(name_of(CASES[name](m, m.nn.functional, tensors(m)).dtype))
    if name == "module norm":  # PyTorch's normalization of 16-bit floats keeps them, too
        found = [f.replace("float32", dtype) for f in found]
    assert found[0] == found[1]


def test_gradients_are_of_the_parameters_types() -> None:
    layer = lazygrad.nn.Linear(3, 2)
    x = lazygrad.randn(4, 3, requires_grad=True)
    with lazygrad.autocast("cpu"):
        y = layer(x)
        with lazygrad.autocast("cpu", enabled=False):
            assert layer(x).dtype is lazygrad.float32
        loss = lazygrad.nn.functional.mse_loss(y, lazygrad.zeros(4, 2))
    assert (y.dtype, loss.dtype) == (lazygrad.bfloat16, lazygrad.float32)
    loss.backward()
    assert layer.weight.grad.dtype is lazygrad.float32 and x.grad.dtype is lazygrad.float32
    exact = lazygrad.nn.functional.mse_loss(layer(x.detach()), lazygrad.zeros(4, 2))
    assert abs(loss.item() - exact.item()) < 0.05 * abs(exact.item()) + 1e-3


def test_state_decorator_and_warnings() -> None:
    def states(m: Any) -> list[Any]:
        seen: list[Any] = [
            m.is_autocast_enabled("cpu"),
            m.is_autocast_enabled(),
            name_of(m.get_autocast_dtype("cpu")),
        ]
        with m.autocast("cpu", dtype=m.float16):
            seen += [m.is_autocast_enabled("cpu"), name_of(m.get_autocast_dtype("cpu"))]
            with m.amp.autocast("cpu", enabled=False):
                seen += [m.is_autocast_enabled("cpu")]
        seen += [m.is_autocast_enabled("cpu"), name_of(m.get_autocast_dtype("cpu"))]

        @m.autocast("cpu")
        def run() -> bool:
            return m.is_autocast_enabled("cpu")

        seen.append(run())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with m.autocast("cpu", dtype=m.float32):
                seen.append(m.is_autocast_enabled("cpu"))
        seen.append(len(caught))
        return seen

    assert states(lazygrad) == states(pytorch())
    for bad in (lambda m: m.autocast("nothing"), lambda m: m.autocast(3)):
        for m in (lazygrad, pytorch()):
            with pytest.raises((RuntimeError, ValueError)):
                bad(m)


def test_grad_scaler() -> None:
    def run(m: Any) -> list[Any]:
        p = m.tensor([1.0, 2.0], requires_grad=True)
        optimizer = m.optim.SGD([p], lr=0.5)
        scaler = m.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        seen: list[Any] = []
        for factor in (1.0, 1.0, float("inf"), 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale((p * p).sum() * factor).backward()
            if factor == 1.0:
                scaler.unscale_(optimizer)
                seen.append(p.grad.tolist())
            scaler.step(optimizer)
            scaler.update()
            seen += [p.tolist(), scaler.get_scale()]
        state = scaler.state_dict()
        other = m.amp.GradScaler("cpu")
        other.load_state_dict(state)
        return [*seen, state, other.get_scale(), m.amp.GradScaler("cpu", enabled=False).scale(3)]

    assert run(lazygrad) == run(pytorch())


def test_grad_scaler_without_a_gpu_warns_and_does_nothing() -> None:
    if lazygrad.cuda.is_available():
        pytest.skip("a GPU")
    with pytest.warns(UserWarning, match="CUDA is not available"):
        scaler = lazygrad.cuda.amp.GradScaler()
    assert not scaler.is_enabled() and scaler.get_scale() == 1.0
    with pytest.warns(UserWarning, match="CUDA is not available"), lazygrad.autocast("cuda"):
        assert not lazygrad.is_autocast_enabled("cuda")


def test_grad_scaler_refuses_float16() -> None:
    for m in (lazygrad, pytorch()):
        weight, scaler = m.nn.Parameter(m.ones(2, dtype=m.float16)), m.amp.GradScaler("cpu")
        scaler.scale(weight.float().sum()).backward()
        with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
            scaler.step(m.optim.SGD([weight], 0.1))


def test_functions_under_autocast() -> None:
    def results(m: Any, decorators: Any) -> list[str]:
        fwd, bwd = decorators(m)

        class Twice(m.autograd.Function):
            @staticmethod
            @fwd
            def forward(ctx: Any, x: Any) -> Any:
                seen.append(name_of(x.dtype))
                return x * 2

            @staticmethod
            @bwd
            def backward(ctx: Any, g: Any) -> Any:
                return g * 2

        seen: list[str] = []
        x = m.ones(3, dtype=m.bfloat16, requires_grad=True)
        with m.autocast("cpu"):
            y = Twice.apply(x)
        y.sum().backward()
        return [*seen, name_of(y.dtype), name_of(x.grad.dtype)]

    def of_cpu(m: Any) -> Any:
        return (m.amp.custom_fwd(device_type="cpu", cast_inputs=m.float32),
                m.amp.custom_bwd(device_type="cpu"))

    assert results(lazygrad, of_cpu) == results(pytorch(), of_cpu) == ["float32", "float32", "bfloat16"]


def test_older_decorators_of_functions_under_autocast() -> None:
    for m in (lazygrad, pytorch()):
        with pytest.warns(FutureWarning, match="custom_fwd"):
            made = m.cuda.amp.custom_fwd(cast_inputs=m.float32)
        assert made.keywords["cast_inputs"] is m.float32 and made.keywords["device_type"] == "cuda"
        with pytest.warns(FutureWarning, match="custom_bwd"):
            m.cuda.amp.custom_bwd(lambda ctx, g: g)
