"""Calls of PyTorch's operations and of lazygrad's on the same samples, with gradients, compared."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch_samples import (
    Counterparts,
    attempt,
    copied,
    describe,
    differs,
    last_word,
    leaves,
    torch,
    weights,
)

import lazygrad
from lazygrad.errors import UnsupportedError

# values that are deliberately others than PyTorch's: dtypes, and why
WHOLE = ("int64", "int32", "int16", "int8")
OTHER_VALUES = {
    "matrix_exp": (("float16", "bfloat16"), "PyTorch's are NaN for large matrices"),
    "native_layer_norm": (("float16", "bfloat16"), "PyTorch's are sums of two terms that may cancel"),
    "polygamma": (WHOLE, "infinite at negative integers, where PyTorch's are rounded"),
    "special.polygamma": (WHOLE, "as polygamma"),
    "nn.functional.hardsigmoid": (("float64",), "PyTorch takes a sixth in float32"),
    "special.airy_ai": (("float64",), "PyTorch's have nine digits"),
    **{f"special.bessel_{n}": (("float64",), "PyTorch's have six digits") for n in ("j0", "j1", "y0", "y1")},
}
# which of equal elements is named differs, and where `dim` stands among their arguments
EQUAL_ELEMENTS = {"argsort": 0, "kthvalue": 1, "mode": 0, "sort": 0, "topk": 1}
# PyTorch gives the elements that are replaced a gradient in place of those that are kept
OTHER_GRADIENTS = ("as_strided_scatter",)
# of what is not set, only the shape and the dtype count
UNSET = ("empty", "new_empty", "resize_")


# the same for the samples of reference tests; what PyTorch has was seen to be wrong by mpmath
FLOATS = ("float64", "float32", "float16", "bfloat16")
_LOST = ((*FLOATS, *WHOLE), "PyTorch's are NaN at infinities, and without digits for large numbers")
OTHER_ENDS = {
    **dict.fromkeys(("i0", "special.i1", "special.modified_bessel_i0", "special.modified_bessel_i1"),
                    (FLOATS, "PyTorch's are NaN at infinities")),
    **dict.fromkeys((f"special.bessel_{n}" for n in ("j0", "j1", "y0", "y1")), _LOST),
    "special.airy_ai": _LOST,
    "signal.windows.kaiser": (FLOATS, "for beta = 100 PyTorch's are quotients of infinities"),
    "nn.functional.grid_sample": (("float16", "bfloat16"), "PyTorch counts pixels in 16 bits: beyond images"),
}


def has_same_values(op: Any, dtype: Any, of: Mapping[str, Any] = OTHER_VALUES) -> bool:
    """Whether values are compared, besides shapes and dtypes."""
    return not op.name.startswith(UNSET) and last_word(dtype) not in of.get(op.name, ((),))[0]


def is_complex(result: Any) -> bool:
    return any(isinstance(w, torch.Tensor) and w.is_complex() for w in leaves(result))


def in_float64(value: Any) -> Any:
    """The same numbers, and types of numbers, in float64."""
    if isinstance(value, torch.Tensor):
        wide = value.detach().double() if value.is_floating_point() else value
        return wide.requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return torch.float64 if value.is_floating_point else value
    if type(value) in (list, tuple):
        return type(value)(in_float64(v) for v in value)
    if isinstance(value, dict):
        return {k: in_float64(v) for k, v in value.items()}
    return value


def not_leaves(value: Any) -> Any:
    """Copies to write into: a leaf that wants a gradient is not written into."""
    if isinstance(value, list):
        return [not_leaves(v) for v in value]
    return value.clone() if hasattr(value, "clone") else value


def call_torch(form: Any, inputs: Any, in_place: bool) -> tuple[Any, Exception | None]:
    """PyTorch's results of a call, from seeded generators."""
    torch.manual_seed(1)
    start = inputs[0]
    if in_place:
        start = not_leaves(start)
    return attempt(form, start, *inputs[1], **inputs[2])


def leaves_of_gradients(inputs: Any) -> list[Any]:
    return [t for t in leaves(inputs) if isinstance(t, torch.Tensor) and t.requires_grad and t.is_leaf]


def torch_gradients(results: list[Any], inputs: Any) -> tuple[Any, Exception | None]:
    """PyTorch's gradients of a weighted sum of results; no gradient is the gradient 0."""
    outs = [w for w in results if isinstance(w, torch.Tensor) and w.requires_grad]
    loss = sum((w * torch.tensor(weights(w)).to(w.dtype)).sum() for w in outs)
    leaf = leaves_of_gradients(inputs)
    return attempt(torch.autograd.grad, loss, leaf, allow_unused=True, materialize_grads=True)


def exactly(form: Any, sample: Any, in_place: bool) -> tuple[list[Any], list[Any]]:
    """PyTorch's results and gradients of a call whose numbers are all in float64."""
    inputs = in_float64(copied([sample.input, list(sample.args), sample.kwargs]))
    want, refused = call_torch(form, inputs, in_place)
    results = [] if refused is not None else list(leaves(sample.output_process_fn_grad(want)))
    return results, list(torch_gradients(results, inputs)[0] or ())


class Calls:
    """Calls of an operation in PyTorch and lazygrad, compared at the end: all are computed at once."""

    def __init__(self, device: str, compare_values: bool = True) -> None:
        self.device = device
        self.compare_values = compare_values
        self.problems: list[str] = []
        self.pairs: list[tuple[str, Any, Any, float, Callable[[], Any]]] = []

    def run(self, op: Any, sample: Any, name: str = "function", form: Any = None) -> None:
        """One form of an operation on one sample, with the gradients of the inputs that want them."""
        form = form or op.op
        inputs = copied([sample.input, list(sample.args), sample.kwargs])
        one = Counterparts(self.device)
        x, args, kwargs = one.of(inputs)
        in_place = "in place" in name
        start = not_leaves(x) if in_place else x
        want, refused = call_torch(form, inputs, in_place)
        if refused is not None:
            return
        label = f"{name} {describe(sample)}"
        lazygrad.manual_seed(1)
        got, problem = attempt(lambda: one.function(form)(start, *args, **kwargs))
        if isinstance(problem, UnsupportedError) and is_complex(want):
            return
        if problem is not None:
            self.problems.append(f"{label}: {type(problem).__name__}: {str(problem)[:300]}")
            return
        exact = functools.cache(lambda: exactly(form, sample, in_place))
        both = self.add(op, label, sample, (inputs, (x, args, kwargs)), (want, got), one, exact)
        if both and op.name not in OTHER_GRADIENTS:
            self.differentiate(label, inputs, one, both[1], both[0], exact)

    def add(
        self, op: Any, label: str, sample: Any, inputs: Any, results: Any, one: Counterparts, exact: Any
    ) -> tuple[list[Any], list[Any]]:
        """Results of PyTorch and of lazygrad, and the inputs that led to them, to be compared: the results as
        lists, empty where they are not as many."""
        process = sample.output_process_fn_grad
        wants, gots = list(leaves(process(results[0]))), list(leaves(one.of(process)(results[1])))
        if op.name in EQUAL_ELEMENTS and len(gots) == len(wants) == 2 - (op.name == "argsort"):
            wants[-1] = _named(op, torch, inputs[0], wants[-1])
            gots[-1] = _named(op, lazygrad, inputs[1], gots[-1])
        if len(wants) != len(gots):
            self.problems.append(f"{label}: {len(gots)} results for {len(wants)}")
            return [], []
        for i, (g, w) in enumerate(zip(gots, wants, strict=True)):
            self.pairs.append((label, g, w, 1e-6, lambda i=i: exact()[0][i]))
        return wants, gots

    def run_out(self, op: Any, sample: Any) -> None:
        """The function with `out=`, into tensors of the right shapes."""
        inputs = copied(without_gradients([sample.input, list(sample.args), sample.kwargs]))
        want, refused = attempt(op.op, inputs[0], *inputs[1], **inputs[2])
        several = list(want) if isinstance(want, tuple | list) else [want]
        if refused is not None or not all(isinstance(w, torch.Tensor) for w in several):
            return
        room = (
            [torch.empty_like(w) for w in want] if isinstance(want, tuple | list) else torch.empty_like(want)
        )
        room = tuple(room) if isinstance(want, tuple) else room
        one = Counterparts(self.device)
        (x, args, kwargs), out = one.of(inputs), one.of(room)
        _, refused = attempt(op.op, inputs[0], *inputs[1], **inputs[2], out=room)
        if refused is not None:
            return
        label = f"out= {describe(sample)}"
        _, problem = attempt(lambda: one.function(op.op)(x, *args, **kwargs, out=out))
        if problem is not None:
            self.problems.append(f"{label}: {type(problem).__name__}: {str(problem)[:300]}")
            return
        gots, wants = one.of(sample.output_process_fn_grad)(out), sample.output_process_fn_grad(room)
        for g, w in zip(leaves(gots), leaves(wants), strict=True):
            self.pairs.append((label, g, w, 1e-6, lambda: None))

    def differentiate(
        self, label: str, inputs: Any, ours_of: Counterparts, gots: list, wants: list, exact: Any
    ) -> None:
        both = list(zip(gots, wants, strict=True))
        outs = [g for g, w in both if isinstance(w, torch.Tensor) and w.requires_grad]
        unlike = [
            w
            for g, w in both
            if isinstance(w, torch.Tensor)
            and isinstance(g, lazygrad.Tensor)
            and w.requires_grad != g.requires_grad
        ]
        if unlike:
            self.problems.append(
                f"{label}: requires_grad of a result is not PyTorch's {unlike[0].requires_grad}"
            )
            return
        leaf = leaves_of_gradients(inputs)
        if not outs or not leaf:
            return
        grads, refused = torch_gradients(wants, inputs)
        if refused is not None:
            return
        ours = [ours_of.of(t) for t in leaf]

        def backward():
            loss = sum(
                (g * lazygrad.tensor(weights(g), device=self.device).to(g.dtype)).sum() for g in outs
            )
            return lazygrad.autograd.grad(loss, ours, allow_unused=True)

        got, problem = attempt(backward)
        if problem is not None:
            self.problems.append(f"{label}: gradient: {type(problem).__name__}: {str(problem)[:300]}")
            return
        real = [w.detach() for w in wants if isinstance(w, torch.Tensor) and w.is_floating_point()]
        sizes = [w.abs().max().item() for w in real if w.numel()]
        floor = min(max([1.0, *filter(np.isfinite, sizes)]), 100.0)  # what sums that cancel are made of
        for i, (g, w, x) in enumerate(zip(got, grads, ours, strict=True)):
            g = lazygrad.zeros_like(x) if g is None else g  # no gradient is the gradient 0
            self.pairs.append((f"gradient of {label}", g, w, floor, lambda i=i: exact()[1][i]))

    def compare(self) -> None:
        self.find_problems()
        assert not self.problems, f"{len(self.problems)} problems\n" + "\n".join(self.problems[:8])

    def find_problems(self) -> None:
        tensors = [g for _, g, *_ in self.pairs if isinstance(g, lazygrad.Tensor) and g.device.type != "meta"]
        _, problem = attempt(lazygrad.realize, *tensors)
        for label, g, w, floor, exact in self.pairs:
            if isinstance(w, torch.Tensor) and not self.compare_values:
                w = w.new_empty(w.shape).copy_(torch.from_numpy(g.detach().float().numpy()))
            words, broken = attempt(differs, g, w, floor)
            if words and isinstance(w, torch.Tensor) and w.is_floating_point():
                words, broken = attempt(differs, g, w, floor, attempt(exact)[0])
            if broken is not None:
                words = f"{type(broken).__name__}: {str(broken)[:300]}"
            if words:
                self.problems.append(f"{label}: {words}")


def _named(op: Any, module: Any, inputs: Any, result: Any) -> Any:
    """The elements that indices name."""
    x, args, kwargs = inputs
    place = EQUAL_ELEMENTS[op.name]
    dim = kwargs.get("dim", args[place] if len(args) > place else -1)
    places = result if result.ndim == x.ndim else result.unsqueeze(dim)
    of_indices = x.ndim and result.dtype is module.int64
    return module.take_along_dim(x.detach(), places, dim) if of_indices else result


def without_gradients(value: Any) -> Any:
    """The same tensors, of which none wants a gradient."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if type(value) in (list, tuple):
        return type(value)(without_gradients(v) for v in value)
    if isinstance(value, dict):
        return {k: without_gradients(v) for k, v in value.items()}
    return value
