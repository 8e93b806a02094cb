"""Optimizers and schedules, beside PyTorch's where it is installed."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest

import lazygrad
from lazygrad import optim
from lazygrad.nn import Parameter
from lazygrad.optim import lr_scheduler
from lazygrad.tensors import realization

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.3, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "maximize": True, "eps": 1e-3}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.3}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.01, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 1.0, "weight_decay": 0.1}),
]


def start_values(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5,), ())]


def run(
    library, make_parameter, name: str, options: dict, steps: int, device: str | None = None
) -> list[np.ndarray]:
    place = {} if device is None else {"device": device}
    params = [make_parameter(library.tensor(v, **place)) for v in start_values()]
    optimizer = getattr(library.optim, name)(params, **options)
    for step in range(steps):
        optimizer.zero_grad()
        loss = sum((p * p * p / 3 - p * (step + 1)).sum() for p in params)
        loss.backward()
        optimizer.step()
    return [p.detach().cpu().numpy() if device is None else np.asarray(p.detach().tolist()) for p in params]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_steps_agree_with_torch(name: str, options: dict, device: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = run(torch, torch.nn.Parameter, name, options, 6)
    ours = run(lazygrad, Parameter, name, options, 6, device)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_16_bit_parameters_are_updated_in_float32_and_rounded(name: str) -> None:
    for dtype in (lazygrad.float16, lazygrad.bfloat16):
        p = Parameter(lazygrad.tensor([1.0, 2.0], dtype=dtype))
        optimizer = getattr(optim, name)([p], lr=0.125)
        (p * p).sum().backward()
        optimizer.step()
        assert p.dtype == dtype
        assert all(0 < new < old for new, old in zip(p.tolist(), (1.0, 2.0), strict=True))


def test_adam_by_hand() -> None:
    p = Parameter(lazygrad.tensor([1.0]))
    optimizer = optim.Adam([p], lr=0.1)
    p.grad = lazygrad.tensor([0.5])
    optimizer.step()
    # the first step moves by lr whatever the size of the gradient
    assert p.item() == pytest.approx(0.9, abs=1e-6)
    assert optimizer.state[p]["step"].item() == 1.0
    assert optimizer.state[p]["step"].ndim == 0
    assert set(optimizer.state[p]) == {"step", "exp_avg", "exp_avg_sq"}


def test_a_schedule_changes_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates and step counts are data: graphs of two steps differ in buffers and scalars alone."""
    graphs = []
    original = realization.compute

    def recorded(targets, *rest, **options):
        graphs.append(sorted(_shape_of(t) for t in targets))
        return original(targets, *rest, **options)

    p = Parameter(lazygrad.tensor([1.0, 2.0]))
    optimizer = optim.AdamW([p], lr=0.1, weight_decay=0.1)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.9)
    for _ in range(2):
        # the first two steps differ: states begin as zeros
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
        schedule.step()
    monkeypatch.setattr(realization, "compute", recorded)
    for _ in range(3):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
        schedule.step()
    assert len(graphs) == 3
    assert graphs[0] == graphs[1] == graphs[2]


def _shape_of(node) -> str:
    if node.op.name in ("buffer", "scalar"):
        return node.op.name
    arg = node.arg if node.op.name in ("const",) else ""
    return f"{node.op.name}({arg} {' '.join(_shape_of(i) for i in node.inputs)})"


def test_one_realization_a_step_and_none_for_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = realization.compute
    p = Parameter(lazygrad.tensor([1.0, 2.0]))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    monkeypatch.setattr(
        realization,
        "compute",
        lambda t, *rest, **options: (calls.append(len(t)), original(t, *rest, **options))[1],
    )
    for _ in range(3):
        calls.clear()
        optimizer.zero_grad()
        loss = p.exp().sum()
        before = float(np.exp(p.detach().numpy()).sum())
        loss.backward()
        optimizer.step()
        assert len(calls) == 1
        assert loss.item() == pytest.approx(before)
        assert len(calls) == 1


def test_parameters_without_gradient_stay() -> None:
    used, unused = Parameter(lazygrad.ones(2)), Parameter(lazygrad.ones(2))
    optimizer = optim.Adam([used, unused])
    used.sum().backward()
    optimizer.step()
    assert unused.tolist() == [1.0, 1.0]
    assert unused not in optimizer.state


def test_closure_and_return_value() -> None:
    p = Parameter(lazygrad.tensor([2.0]))
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert p.item() == 0.0


def test_groups_and_defaults() -> None:
    a, b = Parameter(lazygrad.ones(1)), Parameter(lazygrad.ones(1))
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": b}], lr=0.25)
    (a + b).sum().backward()
    optimizer.step()
    assert (a.item(), b.item()) == (0.5, 0.75)
    named = optim.SGD([("a", a), ("b", b)], lr=1.0)
    assert named.param_groups[0]["param_names"] == ["a", "b"]
    assert "Parameter Group 1" in repr(optimizer)


@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIMIZERS}))
def test_every_argument_is_a_setting_of_the_groups(name: str) -> None:
    make = getattr(optim, name)
    arguments = set(inspect.signature(make).parameters) - {"params"}
    optimizer = make([Parameter(lazygrad.ones(1))], lr=0.125, foreach=False)
    fixed = {"decoupled_weight_decay"} if name == "AdamW" else set()
    assert set(optimizer.param_groups[0]) - {"params"} == set(optimizer.defaults) == arguments | fixed
    assert optimizer.defaults["lr"] == 0.125 and optimizer.defaults["foreach"] is False
    try:
        import torch
    except ImportError:
        return
    theirs = getattr(torch.optim, name)([torch.ones(1)], lr=0.125, foreach=False)
    assert optimizer.defaults == theirs.defaults
    assert list(inspect.signature(make).parameters) == list(inspect.signature(type(theirs)).parameters)


def test_zero_grad() -> None:
    p = Parameter(lazygrad.ones(2))
    p.sum().backward()
    optimizer = optim.SGD([p], lr=1.0)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
        (
            lambda: optim.SGD(lazygrad.ones(1)),
            TypeError,
            "params argument given to the optimizer should be an iterable",
        ),
        (
            lambda: optim.SGD([1]),
            TypeError,
            "optimizer can only optimize Tensors, but one of the params is int",
        ),
        (
            lambda: optim.SGD([Parameter(lazygrad.ones(1)) * 2]),
            ValueError,
            "can't optimize a non-leaf Tensor",
        ),
        (lambda: optim.SGD([{"params": {Parameter(lazygrad.ones(1))}}]), TypeError, "ordered collections"),
        (lambda: optim.SGD([Parameter(lazygrad.ones(1))], lr=-1), ValueError, "Invalid learning rate: -1"),
        (
            lambda: optim.SGD([Parameter(lazygrad.ones(1))], momentum=-1),
            ValueError,
            "Invalid momentum value: -1",
        ),
        (
            lambda: optim.SGD([Parameter(lazygrad.ones(1))], nesterov=True),
            ValueError,
            "Nesterov momentum requires",
        ),
        (
            lambda: optim.Adam([Parameter(lazygrad.ones(1))], betas=(1.0, 0.9)),
            ValueError,
            "Invalid beta parameter at index 0: 1.0",
        ),
        (
            lambda: optim.Adam([Parameter(lazygrad.ones(1))], betas=(0.9,)),
            IndexError,
            "betas must be two numbers",
        ),
        (lambda: optim.Adam([Parameter(lazygrad.ones(1))], eps=-1), ValueError, "Invalid epsilon value: -1"),
    ],
)
def test_mistakes(make, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        make()
    assert isinstance(caught.value, lazygrad.LazygradError)


def test_a_parameter_belongs_to_one_group() -> None:
    p = Parameter(lazygrad.ones(1))
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optim.SGD([{"params": [p]}, {"params": [p]}])


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_saving_and_loading_goes_on_where_it_was(name: str) -> None:
    def grow(p, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()

    options = {"momentum": 0.9} if name == "SGD" else {}
    first = Parameter(lazygrad.tensor([1.0, -2.0]))
    optimizer = getattr(optim, name)([first], lr=0.1, **options)
    grow(first, optimizer, 2)
    second = Parameter(first.detach().clone())
    other = getattr(optim, name)([second], lr=0.5, **options)
    other.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    assert other.param_groups[0]["lr"] == 0.1
    grow(first, optimizer, 2)
    grow(second, other, 2)
    assert first.tolist() == second.tolist()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        other.load_state_dict({"state": {}, "param_groups": []})


def test_hooks_of_a_step() -> None:
    p = Parameter(lazygrad.ones(1))
    optimizer = optim.SGD([p], lr=1.0)
    seen = []
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after"))
    optimizer.step()
    before.remove()
    optimizer.step()
    assert seen == ["before", "after", "after"]


SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5]}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.2, "total_iters": 6}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("PolynomialLR", {"total_iters": 7, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.001}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("LambdaLR", {"lr_lambda": lambda e: 0.9**e}),
    ("MultiplicativeLR", {"lr_lambda": lambda e: 0.9}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 15}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 15, "three_phase": True, "anneal_strategy": "linear"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "step_size_down": 4}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9}),
]


def rates(library, parameter, name: str, options: dict, steps: int) -> list[tuple]:
    optimizer = library.optim.SGD([parameter], lr=0.1, momentum=0.9)
    schedule = getattr(library.optim.lr_scheduler, name)(optimizer, **copy.copy(options))
    history = []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        history.append((group["lr"], group["momentum"], *schedule.get_last_lr()))
        optimizer.step()
        schedule.step()
    return history


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules_agree_with_torch(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    ours = rates(lazygrad, Parameter(lazygrad.ones(1)), name, options, 14)
    theirs = rates(torch, torch.nn.Parameter(torch.ones(1)), name, options, 14)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)


ADDING = ("StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR")


def rates_of_added(library, parameters, name: str, options: dict) -> list[list[float]]:
    optimizer = library.optim.SGD(parameters[:1], lr=0.1)
    schedule = getattr(library.optim.lr_scheduler, name)(optimizer, **copy.copy(options))
    history = []
    for step in range(12):
        optimizer.step()
        schedule.step()
        if step == 2:
            optimizer.add_param_group({"params": parameters[1:], "lr": 0.3})
        history.append([group["lr"] for group in optimizer.param_groups])
    return history


@pytest.mark.parametrize(("name", "options"), [row for row in SCHEDULES if row[0] in ADDING])
def test_schedules_go_on_with_groups_that_are_added(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    ours = rates_of_added(lazygrad, [Parameter(lazygrad.ones(1)) for _ in "ab"], name, options)
    theirs = rates_of_added(torch, [torch.nn.Parameter(torch.ones(1)) for _ in "ab"], name, options)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_sequential_chained_and_plateau_agree_with_torch() -> None:
    torch = pytest.importorskip("torch")
    histories = []
    for library, parameter in (
        (lazygrad, Parameter(lazygrad.ones(1))),
        (torch, torch.nn.Parameter(torch.ones(1))),
    ):
        schedules = library.optim.lr_scheduler
        optimizer = library.optim.SGD([parameter], lr=0.1)
        parts = [
            schedules.ConstantLR(optimizer, factor=0.1, total_iters=2),
            schedules.ExponentialLR(optimizer, 0.9),
        ]
        sequence = schedules.SequentialLR(optimizer, parts, milestones=[3])
        plateau = schedules.ReduceLROnPlateau(library.optim.SGD([parameter], lr=0.1), patience=1, factor=0.5)
        other = library.optim.SGD([parameter], lr=0.1)
        chained = schedules.ChainedScheduler(
            [schedules.ConstantLR(other, 0.5, 3), schedules.ExponentialLR(other, 0.9)]
        )
        history = []
        for metric in (3.0, 2.0, 2.0, 2.0, 1.0, 1.5, 1.5, 1.5):
            history.append((*sequence.get_last_lr(), *chained.get_last_lr(), *plateau.get_last_lr()))
            optimizer.step()
            other.step()
            sequence.step()
            chained.step()
            plateau.step(metric)
        histories.append(history)
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-13)


def test_a_schedule_can_be_saved() -> None:
    def make():
        optimizer = optim.SGD([Parameter(lazygrad.ones(1))], lr=0.1)
        return optimizer, lr_scheduler.CosineAnnealingLR(optimizer, 10)

    optimizer, schedule = make()
    for _ in range(3):
        optimizer.step()
        schedule.step()
    other_optimizer, other = make()
    other.load_state_dict(pickle.loads(pickle.dumps(schedule.state_dict())))
    other_optimizer.load_state_dict(optimizer.state_dict())
    for o, s in ((optimizer, schedule), (other_optimizer, other)):
        o.step()
        s.step()
    assert schedule.get_last_lr() == other.get_last_lr()


def test_a_schedule_before_its_optimizer_warns() -> None:
    optimizer = optim.SGD([Parameter(lazygrad.ones(1))], lr=0.1)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.9)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
        schedule.step()


def test_schedules_check_their_arguments() -> None:
    optimizer = optim.SGD([Parameter(lazygrad.ones(1))], lr=0.1)
    with pytest.raises(TypeError, match="is not an Optimizer"):
        lr_scheduler.ExponentialLR(3, 0.9)
    with pytest.raises(ValueError, match="You must define either total_steps OR"):
        lr_scheduler.OneCycleLR(optimizer, 0.1)
    with pytest.raises(ValueError, match="Expected 1 lr_lambdas, but got 2"):
        lr_scheduler.LambdaLR(optimizer, [abs, abs])
