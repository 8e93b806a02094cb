"""Every learning rate schedule of PyTorch beside PyTorch's: rates, states, going on from a state, and what is
refused."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from torch_modules import finish
from torch_samples import attempt, torch

import lazygrad

CASES: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": lambda e: 0.9**e}),
    ("LambdaLR", {"lr_lambda": [lambda e: 1 / (e + 1), lambda e: 0.5**e]}),
    ("MultiplicativeLR", {"lr_lambda": lambda e: 0.95}),
    ("MultiplicativeLR", {"lr_lambda": [lambda e: 0.9 if e % 2 else 1.1, lambda e: 0.5]}),
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 1, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9]}),
    ("MultiStepLR", {"milestones": [4], "gamma": 3}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 0}),
    ("ConstantLR", {"factor": 1.0, "total_iters": 3}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.5, "end_factor": 0.1, "total_iters": 4}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 12}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ExponentialLR", {"gamma": 1.5}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 4, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 4}),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.01}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.5}),
    (
        "CyclicLR",
        {
            "base_lr": [0.01, 0.1],
            "max_lr": [0.5, 1.0],
            "step_size_up": 3,
            "step_size_down": 2,
            "mode": "triangular2",
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.5,
            "step_size_up": 4,
            "mode": "exp_range",
            "gamma": 0.9,
            "base_momentum": 0.7,
            "max_momentum": 0.95,
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.5,
            "step_size_up": 2,
            "scale_fn": lambda x: 0.8**x,
            "scale_mode": "iterations",
            "cycle_momentum": False,
        },
    ),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.5, "step_size_up": 2, "scale_fn": lambda x: 0.8**x}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 14}),
    ("OneCycleLR", {"max_lr": [1.0, 0.5], "epochs": 7, "steps_per_epoch": 2, "anneal_strategy": "linear"}),
    (
        "OneCycleLR",
        {
            "max_lr": 1.0,
            "total_steps": 14,
            "three_phase": True,
            "pct_start": 0.4,
            "div_factor": 10.0,
            "final_div_factor": 50.0,
        },
    ),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 14, "cycle_momentum": False, "pct_start": 1.0}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 14, "base_momentum": 0.6, "max_momentum": [0.9, 0.99]}),
    ("ReduceLROnPlateau", {}),
    (
        "ReduceLROnPlateau",
        {"mode": "max", "factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": [0.1, 0.001]},
    ),
    ("ReduceLROnPlateau", {"patience": 0, "threshold": 0.5, "threshold_mode": "abs", "eps": 0.1}),
    ("swa_utils.SWALR", {"swa_lr": 0.05}),
    ("swa_utils.SWALR", {"swa_lr": [0.05, 0.2], "anneal_epochs": 4, "anneal_strategy": "linear"}),
    ("swa_utils.SWALR", {"swa_lr": 0.05, "anneal_epochs": 0}),
]
METRICS = [1.0, 0.9, 0.95, 0.95, 0.3, 0.6, 0.6, math.nan, 0.6, 0.7, 0.2, 0.2, 0.2, 0.2]


def optimizer(library: Any, name: str = "SGD", rate: Any = 0.5, **options: Any) -> Any:
    params = [library.nn.Parameter(library.ones(2)) for _ in range(2)]
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.1}]
    options = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(library.optim, name)(groups, lr=rate, **options)


def scheduler(library: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    owner, _, kind = name.rpartition(".")
    place = library.optim.swa_utils if owner else library.optim.lr_scheduler
    return getattr(place, kind)(*args, **kwargs)


def go(schedule: Any, steps: int, first: int = 0) -> list[Any]:
    """The rates and momenta of all groups at each step."""
    seen = []
    for step in range(first, first + steps):
        schedule.optimizer.step()
        plateau = type(schedule).__name__ == "ReduceLROnPlateau"
        schedule.step(*[METRICS[step % len(METRICS)]] if plateau else [])
        groups = schedule.optimizer.param_groups
        seen.append([number(v) for g in groups for v in (g["lr"], g.get("momentum"), g.get("betas"))])
        seen.append([number(v) for v in schedule.get_last_lr()])
    return seen


def number(value: Any) -> Any:
    if isinstance(value, tuple):
        return [number(v) for v in value]
    return value.item() if hasattr(value, "item") else value


def near(got: Any, want: Any) -> bool:
    """Equal, numbers but for their last places; bound methods and functions are not compared."""
    got, want = number(got), number(want)
    if isinstance(want, dict):
        return isinstance(got, dict) and list(got) == list(want) and all(near(got[k], want[k]) for k in want)
    if isinstance(want, list | tuple):
        return isinstance(got, list | tuple) and len(got) == len(want) and all(map(near, got, want))
    if isinstance(want, float):
        return isinstance(got, float) and (
            math.isclose(got, want, rel_tol=1e-9, abs_tol=1e-15) or got != got and want != want
        )
    return callable(want) or type(want).__name__ == "Counter" or got == want and type(got) is type(want)


def quiet(run: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run()


def label(case: Any) -> str:
    return f"{case[0]}-{'-'.join(case[1])}"


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_rates_and_states(case: Any, kind: str) -> None:
    name, kwargs = case
    problems: list[str] = []

    def compare(where: str, got: Any, want: Any) -> None:
        if not near(got, want):
            problems.append(f"{where}:\n  {got}\n  {want}")

    pairs = [
        quiet(lambda library=library: scheduler(library, name, optimizer(library, kind), **copy.copy(kwargs)))
        for library in (lazygrad, torch)
    ]
    compare(
        "first rates",
        *[
            [number(v) for g in p.optimizer.param_groups for v in (g["lr"], g["initial_lr"])]
            if name != "ReduceLROnPlateau"
            else []
            for p in pairs
        ],
    )
    compare("rates", *[quiet(lambda p=p: go(p, 6)) for p in pairs])
    states = [p.state_dict() for p in pairs]
    compare("state_dict", *states)
    compare(
        "groups",
        *[[{k: v for k, v in g.items() if k != "params"} for g in p.optimizer.param_groups] for p in pairs],
    )
    # going on from PyTorch's state, with its optimizer's settings
    others = [
        quiet(lambda library=library: scheduler(library, name, optimizer(library, kind), **copy.copy(kwargs)))
        for library in (lazygrad, torch)
    ]
    groups = [{k: v for k, v in g.items() if k != "params"} for g in pairs[1].optimizer.param_groups]
    for other in others:
        other.load_state_dict(copy.deepcopy(pairs[1].state_dict()))
        for group, settings in zip(other.optimizer.param_groups, groups, strict=True):
            group.update(settings)
    compare("rates after loading", *[quiet(lambda p=p: go(p, 5, 6)) for p in others])
    finish(problems)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_last_epoch(case: Any) -> None:
    """A schedule that is made in the middle goes on from there."""
    name, kwargs = case
    if name == "ReduceLROnPlateau":
        return
    seen = []
    for library in (lazygrad, torch):
        base = optimizer(library)
        for group in base.param_groups:
            extra = {
                "initial_lr": group["lr"],
                "max_lr": 1.0,
                "min_lr": 0.001,
                "max_momentum": 0.95,
                "base_momentum": 0.85,
                "swa_lr": 0.05,
            }
            group.update(extra)
        made, problem = attempt(
            lambda base=base, library=library: scheduler(
                library, name, base, **copy.copy(kwargs), last_epoch=4
            )
        )
        seen.append(quiet(lambda made=made: go(made, 4)) if problem is None else type(problem).__mro__)
    if isinstance(seen[1], list):
        assert near(*seen), seen
    else:
        assert seen[1][0] in seen[0]


@pytest.mark.parametrize("case", [c for c in CASES if c[0] != "ReduceLROnPlateau"], ids=label)
def test_rates_that_are_tensors(case: Any) -> None:
    name, kwargs = case
    seen = []
    for library in (lazygrad, torch):
        made, problem = attempt(
            lambda library=library: scheduler(
                library, name, optimizer(library, "Adam", library.tensor(0.5)), **copy.copy(kwargs)
            )
        )
        if problem is None:
            rates, problem = attempt(lambda made=made: quiet(lambda: go(made, 5)))
        seen.append(rates if problem is None else type(problem).__mro__)
    if not isinstance(seen[1], list):
        assert seen[1][0] in seen[0], seen
        return
    for got, want in zip(*seen, strict=True):
        assert all(
            g == w or math.isclose(g, w, rel_tol=1e-6)
            for g, w in zip(got, want, strict=True)
            if isinstance(w, float)
        ), (got, want)


COMPOSED: dict[str, Callable[[Any, Any], Any]] = {
    "chained": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)]),
    "chained with an optimizer": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o), s.StepLR(o, 2)], optimizer=o
    ),
    "sequence": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], [3]),
    "sequence of three": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 3), s.CosineAnnealingLR(o, 4), s.StepLR(o, 2, 0.5)], [3, 7]
    ),
    "sequence of a warm up": lambda s, o: s.SequentialLR(
        o,
        schedulers=[s.LinearLR(o, 0.01, total_iters=4), s.CosineAnnealingWarmRestarts(o, 3)],
        milestones=[4],
    ),
    "sequence in a chain": lambda s, o: s.ChainedScheduler(
        [s.SequentialLR(o, [s.ConstantLR(o, 0.5, 3), s.ExponentialLR(o, 0.9)], [3]), s.StepLR(o, 2)]
    ),
    "sequence with polynomial": lambda s, o: s.SequentialLR(
        o, [s.PolynomialLR(o, 3), s.MultiStepLR(o, [1, 3]), s.LambdaLR(o, lambda e: 0.9**e)], [2, 5]
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_schedules_made_of_schedules(name: str) -> None:
    pairs = []
    for library in (lazygrad, torch):
        base = optimizer(library)
        pairs.append(
            quiet(lambda library=library, base=base: COMPOSED[name](library.optim.lr_scheduler, base))
        )
    assert near(*[quiet(lambda p=p: go(p, 7)) for p in pairs])
    ours, theirs = (p.state_dict() for p in pairs)
    assert near(ours, theirs), (ours, theirs)
    others = []
    for library in (lazygrad, torch):
        base = optimizer(library)
        other = quiet(lambda library=library, base=base: COMPOSED[name](library.optim.lr_scheduler, base))
        other.load_state_dict(copy.deepcopy(theirs))
        for group, old in zip(base.param_groups, pairs[1].optimizer.param_groups, strict=True):
            group.update({k: v for k, v in old.items() if k != "params"})
        others.append(quiet(lambda other=other: go(other, 4)))
    assert near(*others)


WRONG: list[Callable[[Any, Any], Any]] = [
    lambda s, o: s.StepLR(None, 1),
    lambda s, o: s.StepLR(o),
    lambda s, o: s.StepLR(o, 1, last_epoch=3),
    lambda s, o: s.LambdaLR(o, [lambda e: 1.0]),
    lambda s, o: s.LambdaLR(o, 0.5).step(),
    lambda s, o: s.MultiplicativeLR(o, [lambda e: 1.0] * 3),
    lambda s, o: s.ConstantLR(o, 1.5),
    lambda s, o: s.ConstantLR(o, -0.5),
    lambda s, o: s.LinearLR(o, 0.0),
    lambda s, o: s.LinearLR(o, 1.5),
    lambda s, o: s.LinearLR(o, 0.5, 1.5),
    lambda s, o: s.LinearLR(o, 0.5, -0.1),
    lambda s, o: s.CyclicLR(o, [0.1], 1.0),
    lambda s, o: s.CyclicLR(o, 0.1, [1.0] * 3),
    lambda s, o: s.CyclicLR(o, 0.1, 1.0, mode="square"),
    lambda s, o: s.CyclicLR(o, 0.1, 1.0, base_momentum=[0.1]),
    lambda s, o: s.OneCycleLR(o, 0.1),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=1.5),
    lambda s, o: s.OneCycleLR(o, 0.1, epochs=0, steps_per_epoch=2),
    lambda s, o: s.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=-2),
    lambda s, o: s.OneCycleLR(o, 0.1, epochs=2),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=4, pct_start=2.0),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=4, pct_start=1),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=4, anneal_strategy="exp"),
    lambda s, o: s.OneCycleLR(o, [0.1], total_steps=4),
    lambda s, o: [(c.step()) for c in [s.OneCycleLR(o, 0.1, total_steps=2)] for _ in range(4)],
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 2.5),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 0),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 1.5),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, eta_min="a"),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 2).step(-1),
    lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    lambda s, o: s.ReduceLROnPlateau(o, mode="least"),
    lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="of"),
    lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]),
    lambda s, o: s.ReduceLROnPlateau(3),
    lambda s, o: s.ReduceLROnPlateau(o).step(),
    lambda s, o: s.ReduceLROnPlateau(o).step("abc"),
    lambda s, o: s.SequentialLR(o, [], []),
    lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [1]),
    lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1), s.ReduceLROnPlateau(o)], [1]),
    lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1), 3], [1]),
    lambda s, o: s.SequentialLR(copy.deepcopy(o), [s.StepLR(o, 1), s.StepLR(o, 1)], [1]),
    lambda s, o: s.ChainedScheduler([]),
    lambda s, o: s.ChainedScheduler([3]),
    lambda s, o: s.ChainedScheduler([s.StepLR(o, 1), s.ReduceLROnPlateau(o)]),
    lambda s, o: s.ChainedScheduler([s.StepLR(o, 1), s.StepLR(copy.deepcopy(o), 1)]),
    lambda s, o: s.MultiStepLR(o, 3),
    lambda s, o: s.StepLR(o, 0),
    lambda s, o: s.CosineAnnealingLR(o, 0),
    lambda s, o: s.PolynomialLR(o, 0),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_errors(number: int) -> None:
    _, want = attempt(lambda: WRONG[number](torch.optim.lr_scheduler, optimizer(torch)))
    _, got = attempt(lambda: WRONG[number](lazygrad.optim.lr_scheduler, optimizer(lazygrad)))
    if want is None:
        assert got is None, got
    else:
        assert isinstance(got, type(want)), f"{type(got).__name__} {got} for {type(want).__name__} {want}"


def test_schedules_are_pickled_with_their_optimizer() -> None:
    for name, kwargs in CASES:
        if any(callable(v) or isinstance(v, list) and callable(v[0]) for v in kwargs.values()):
            continue
        made = quiet(
            lambda name=name, kwargs=kwargs: scheduler(lazygrad, name, optimizer(lazygrad), **kwargs)
        )
        quiet(lambda made=made: go(made, 2))
        rates = [
            quiet(lambda other=other: go(other, 2))
            for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made)), made)
        ]
        assert near(rates[0], rates[2]) and near(rates[1], rates[2])
