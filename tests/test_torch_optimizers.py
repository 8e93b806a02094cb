"""Every optimizer of PyTorch's table of them with PyTorch's own arguments: parameters, states and groups
after several steps, going on from PyTorch's state, and what is refused."""

from __future__ import annotations

import copy
import io
import re
import warnings
from typing import Any

import numpy as np
import pytest
from conftest import LISTED
from torch_modules import ModuleCounterparts, finish
from torch_samples import attempt, differs, torch

import lazygrad

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_optimizers import optim_db

# gradients are sparse tensors there, which lazygrad has not; its own form is in test_more_optim.py
DENSE = [info for info in optim_db if not info.only_supports_sparse_grads]
SHAPES = [(3, 4), (4, 2), (5,), ()]
# of numbers that are computed in bfloat16, or whose rates are rounded to float32 at other places
FLOORS = {("Muon", "float32"): 3e3, ("Muon", "float64"): 1e8, ("ASGD", "float64"): 1e3}


def arguments(info: Any) -> list[dict[str, Any]]:
    """What PyTorch's tests make an optimizer with, and the same with each flag that it takes."""
    inputs = [i.kwargs for i in info.optim_inputs_func(device="cpu")]
    flagged = [
        {**kwargs, flag: True}
        for kwargs in inputs[:2]
        for flag in ("foreach", "fused")
        if flag in info.supported_impls
    ]
    # near a minimum L-BFGS turns on the last places of sums
    few = {"max_iter": 4} if info.step_requires_closure else {}
    return [{**kwargs, **few} for kwargs in inputs + flagged]


class Pair:
    """The same parameters and optimizer in PyTorch and lazygrad."""

    def __init__(
        self,
        info: Any,
        kwargs: dict[str, Any],
        dtype: str = "float32",
        device: str = "NUMPY",
        named: bool = False,
    ) -> None:
        self.name, self.dtype, self.device = info.optim_cls.__name__, dtype, device
        rng = np.random.default_rng(3)
        shapes = SHAPES[:2] if self.name == "Muon" else SHAPES
        self.values = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        self.theirs = [torch.nn.Parameter(torch.tensor(v)) for v in self.values]
        self.ours = [lazygrad.nn.Parameter(lazygrad.tensor(v, device=device)) for v in self.values]
        self.problems: list[str] = []
        self.label = f"{self.name} {kwargs}"
        given = [list(zip("abcd", p, strict=False)) if named else p for p in (self.theirs, self.ours)]
        self.yours = getattr(torch.optim, self.name)(given[0], **copy.deepcopy(kwargs))
        converted = ModuleCounterparts("CPU").of(copy.deepcopy(kwargs))
        self.mine, problem = attempt(lambda: getattr(lazygrad.optim, self.name)(given[1], **converted))
        if problem is not None:
            self.problems.append(f"{self.label}: {type(problem).__name__}: {problem}")

    def loss(self, params: list[Any], step: int) -> Any:
        return sum((p * p * p * p / 4 - p * (step % 3 - 0.5) * (k + 1)).sum() for k, p in enumerate(params))

    def steps(self, numbers: range) -> None:
        for step in numbers:
            got, want = (
                self.step(*side, step) for side in ((self.mine, self.ours), (self.yours, self.theirs))
            )
            self.differ(f"loss {step}", got, want)

    def step(self, optimizer: Any, params: list[Any], step: int) -> Any:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = self.loss(params, step)
            loss.backward()
            return loss

        return optimizer.step(closure)

    def differ(self, where: str, got: Any, want: Any) -> None:
        words, problem = attempt(differs, got, want, FLOORS.get((self.name, self.dtype), 1e-3))
        if words or problem:
            self.problems.append(f"{self.label}: {where}: {words or problem}")

    def compare(self) -> None:
        """Parameters, and state_dict with its keys, in their order, types and values."""
        for k, (p, q) in enumerate(zip(self.ours, self.theirs, strict=True)):
            self.differ(f"parameter {k}", p, q)
        self.same("", self.mine.state_dict(), self.yours.state_dict())

    def same(self, where: str, got: Any, want: Any) -> None:
        if isinstance(want, dict):
            if not isinstance(got, dict) or list(got) != list(want):
                keys = list(got) if isinstance(got, dict) else got
                self.problems.append(f"{self.label}: {where}: keys {keys} for {list(want)}")
            else:
                for key, value in want.items():
                    self.same(f"{where}.{key}", got[key], value)
        elif isinstance(want, list | tuple):
            if type(got) is not type(want) or len(got) != len(want):
                self.problems.append(f"{self.label}: {where}: {got!r} for {want!r}")
            else:
                for k, value in enumerate(want):
                    self.same(f"{where}[{k}]", got[k], value)
        else:
            self.differ(where, got, want)


@pytest.mark.parametrize("info", DENSE, ids=lambda i: i.optim_cls.__name__)
def test_steps(info: Any, device: str) -> None:
    problems: list[str] = []
    given = arguments(info)
    if device != "NUMPY" and not LISTED:  # to compile takes the time
        given = given[2:3]
    for kwargs in given:
        for dtype in ("float64",) if info.step_requires_closure else ("float32", "float64"):
            pair = Pair(info, kwargs, dtype, device)
            if not pair.problems:
                assert repr(pair.mine) == repr(pair.yours)
                pair.steps(range(4))
                pair.compare()
            problems += pair.problems
    finish(problems)


@pytest.mark.parametrize("info", DENSE, ids=lambda i: i.optim_cls.__name__)
def test_going_on_from_a_state_of_pytorch(info: Any) -> None:
    """A file that torch.save wrote of an optimizer's state, loaded into another one."""
    problems: list[str] = []
    for kwargs in arguments(info):
        pair = Pair(info, kwargs, "float64")
        for step in range(3):
            pair.step(pair.yours, pair.theirs, step)
        file = io.BytesIO()
        torch.save(pair.yours.state_dict(), file)
        file.seek(0)
        with lazygrad.no_grad():
            for p, q in zip(pair.ours, pair.theirs, strict=True):
                p.copy_(lazygrad.tensor(q.detach().numpy(), device=pair.device))
        pair.mine = getattr(lazygrad.optim, pair.name)(pair.ours, lr=0.5)
        pair.mine.load_state_dict(lazygrad.load(file))
        state = pair.yours.state_dict()
        pair.yours = getattr(torch.optim, pair.name)(pair.theirs, lr=0.5)
        pair.yours.load_state_dict(state)
        pair.steps(range(3, 5))
        pair.compare()
        problems += pair.problems
    finish(problems)


@pytest.mark.parametrize("info", DENSE, ids=lambda i: i.optim_cls.__name__)
def test_differentiable_steps(info: Any) -> None:
    """With `differentiable`, new values have gradients to old values and gradients where PyTorch has them."""
    if "differentiable" not in info.supported_impls:
        return
    problems: list[str] = []
    for kwargs in arguments(info):
        kwargs = {key: v for key, v in kwargs.items() if key not in ("foreach", "fused")}
        results = []
        for library in (torch, lazygrad):
            values = library.tensor([0.5, -1.5, 2.0], dtype=library.float64, requires_grad=True)
            gradient = library.tensor([1.0, -0.25, 0.75], dtype=library.float64, requires_grad=True)
            param = values * 1.0
            param.grad = gradient * 1.0
            given = ModuleCounterparts("CPU").of(copy.deepcopy(kwargs)) if library is lazygrad else kwargs
            optimizer = getattr(library.optim, info.optim_cls.__name__)([param], **given, differentiable=True)
            optimizer.step()
            results.append(
                (param, *library.autograd.grad(param.sum(), [values, gradient], allow_unused=True))
            )
        for got, want in zip(results[1], results[0], strict=True):
            words = differs(got, want, 1e3)  # PyTorch corrects by numbers of float32 there
            if words:
                problems.append(f"{info.optim_cls.__name__} {kwargs}: {words}")
    finish(problems)


@pytest.mark.parametrize("info", optim_db, ids=lambda i: i.optim_cls.__name__)
def test_errors(info: Any) -> None:
    """Wrong arguments raise PyTorch's built-in type of error, in its words."""
    problems = []
    for wrong in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        given = wrong.optimizer_error_input
        if isinstance(given.params, list) and sparse_or_complex(given.params):
            continue
        params = [torch.nn.Parameter(torch.zeros(2, 2))] if given.params is None else given.params
        one = ModuleCounterparts("CPU")
        ours, kwargs = one.of(params), one.of(given.kwargs)
        name = info.optim_cls.__name__
        _, want = attempt(caught, getattr(torch.optim, name), params, given.kwargs)
        _, got = attempt(caught, getattr(lazygrad.optim, name), ours, kwargs)
        if want is None:
            continue
        builtin = next(k for k in type(want).__mro__ if k.__module__ == "builtins")
        if not isinstance(got, builtin) or not re.search(wrong.error_regex, str(got)):
            problems.append(f"{given.desc}: {type(got).__name__}: {got} for {builtin.__name__}: {want}")
    finish(problems)


def caught(kind: Any, params: Any, kwargs: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(params, **kwargs)


def sparse_or_complex(params: list[Any]) -> bool:
    tensors = [t for p in params for t in (p["params"] if isinstance(p, dict) else [p])]
    return any(getattr(t, "is_sparse", False) or getattr(t, "is_complex", bool)() for t in tensors)
