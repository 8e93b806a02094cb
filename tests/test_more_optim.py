"""Rprop, ASGD, Adafactor, Muon, L-BFGS and averaged models: beside PyTorch's, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from module_support import compare, same_weights
from torch_support import pytorch

import lazygrad
from lazygrad import nn, optim

rng = np.random.default_rng(9)


def twins() -> tuple[Any, Any]:
    torch = pytorch()
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    ours = same_weights(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double(), theirs)
    return ours.to("NUMPY"), theirs


def closure(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    def run() -> Any:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    return run


CASES = [
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.05, 0.2), "maximize": True}),
    ("ASGD", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "t0": 2, "weight_decay": 0.1, "lambd": 0.1, "alpha": 0.5}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.5, "eps": (1e-3, 0.1), "d": 2.0, "weight_decay": 0.1}),
    ("LBFGS", {}),
    ("LBFGS", {"lr": 0.5, "max_iter": 4, "history_size": 2}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 7}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "lr": 20.0, "max_iter": 10, "max_eval": 30}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps_agree_with_torch(name: str, options: dict) -> None:
    torch = pytorch()
    ours, theirs = twins()
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    mine, yours = (
        getattr(optim, name)(ours.parameters(), **options),
        getattr(torch.optim, name)(theirs.parameters(), **options),
    )
    assert repr(mine) == repr(yours)
    one = closure(ours, mine, lazygrad.tensor(x, device="NUMPY"), lazygrad.tensor(y, device="NUMPY"))
    other = closure(theirs, yours, torch.tensor(x), torch.tensor(y))
    for _ in range(4):
        a, b = mine.step(one), yours.step(other)
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-6)
        pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
        for p, q in pairs:
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-7)
    if name != "LBFGS":
        for p, q in pairs:
            expected, found = yours.state[q], mine.state[p]
            assert set(expected) == set(found)
            for key, value in expected.items():
                np.testing.assert_allclose(found[key].numpy(), value.numpy(), rtol=1e-5, atol=1e-7)
    else:
        state, expected = (
            mine.state[next(iter(ours.parameters()))],
            yours.state[next(iter(theirs.parameters()))],
        )
        assert (state["n_iter"], state["func_evals"]) == (expected["n_iter"], expected["func_evals"])


@pytest.mark.parametrize(
    "options", [{}, {"nesterov": False, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}]
)
def test_muon_agrees_with_torch(options: dict) -> None:
    torch = pytorch()
    for shape in ((4, 3), (3, 5)):
        value, grads = rng.standard_normal(shape).astype("f4"), rng.standard_normal((3, *shape)).astype("f4")
        p, q = nn.Parameter(lazygrad.tensor(value)), torch.nn.Parameter(torch.tensor(value))
        mine, yours = optim.Muon([p], lr=0.1, **options), torch.optim.Muon([q], lr=0.1, **options)
        for g in grads:
            p.grad, q.grad = lazygrad.tensor(g), torch.tensor(g)
            mine.step(), yours.step()
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=0.02, atol=0.02)
    with pytest.raises(ValueError, match="only supports 2D parameters"):
        optim.Muon([nn.Parameter(lazygrad.ones(2))])


@pytest.mark.parametrize("maximize", [False, True])
def test_lion_is_what_its_paper_says(maximize: bool) -> None:
    random = np.random.default_rng(0)
    expected, average = random.standard_normal(5), np.zeros(5)
    w = lazygrad.tensor(expected, requires_grad=True)
    optimizer = optim.Lion([w], lr=0.1, betas=(0.9, 0.99), weight_decay=0.2, maximize=maximize)
    for gradient in random.standard_normal((4, 5)):
        w.grad = lazygrad.tensor(gradient)
        optimizer.step()
        down = -gradient if maximize else gradient
        expected = expected * (1 - 0.1 * 0.2) - 0.1 * np.sign(0.9 * average + 0.1 * down)
        average = 0.99 * average + 0.01 * down
    np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="Invalid beta"):
        optim.Lion([w], betas=(1.0, 0.9))


def test_averaged_models() -> None:
    torch = pytorch()
    for options in ({}, {"use_buffers": True}, {"avg_fn": "ema"}, {"multi_avg_fn": "ema"}):
        models, averages = [], []
        theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        for library in (lazygrad, torch):
            model = library.nn.Sequential(library.nn.Linear(2, 3), library.nn.BatchNorm1d(3))
            if library is lazygrad:
                same_weights(model, theirs)
            else:
                model.load_state_dict(theirs.state_dict())
            made = {
                "avg_fn": library.optim.swa_utils.get_ema_avg_fn(0.9),
                "multi_avg_fn": library.optim.swa_utils.get_ema_multi_avg_fn(0.9),
            }
            given = {key: made.get(key, value) for key, value in options.items()}
            average = library.optim.swa_utils.AveragedModel(model, **given)
            for k in range(3):
                with library.no_grad():
                    for p in model.parameters():
                        p.mul_(1.5 + k)
                model(library.ones(4, 2))
                average.update_parameters(model)
            models.append(model)
            averages.append(average)
        assert list(averages[0].state_dict()) == list(averages[1].state_dict())
        compare(list(averages[0].state_dict().values()), list(averages[1].state_dict().values()), "float32")
    batches = rng.standard_normal((3, 4, 2)).astype("f4")
    optim.swa_utils.update_bn([lazygrad.tensor(b) for b in batches], averages[0])
    torch.optim.swa_utils.update_bn([torch.tensor(b) for b in batches], averages[1])
    compare(list(averages[0].buffers()), list(averages[1].buffers()), "float32")


@pytest.mark.parametrize(
    "options", [{}, {"anneal_epochs": 0}, {"anneal_epochs": 3, "anneal_strategy": "linear"}]
)
def test_swa_rates_agree_with_torch(options: dict) -> None:
    rates = []
    for library in (lazygrad, pytorch()):
        optimizer = library.optim.SGD([library.nn.Parameter(library.ones(1))], lr=1.0)
        schedule = library.optim.swa_utils.SWALR(optimizer, swa_lr=0.1, **options)
        seen = []
        for _ in range(12):
            optimizer.step()
            schedule.step()
            seen.append(optimizer.param_groups[0]["lr"])
        rates.append(seen)
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: optim.Rprop(p, etas=(1.5, 2)), "Invalid eta values"),
        (lambda p: optim.ASGD(p, lr=-1), "Invalid learning rate"),
        (lambda p: optim.Adafactor(p, d=0.5), "Clipping threshold d should be >= 1"),
        (lambda p: optim.Adafactor(p, beta2_decay=0.5), "beta2_decay should be <= 0"),
        (
            lambda p: optim.LBFGS([{"params": p}, {"params": [nn.Parameter(lazygrad.ones(1))]}]),
            "per-parameter options",
        ),
        (
            lambda p: optim.LBFGS(p, line_search_fn="none").step(lambda: lazygrad.ones(())),
            "only 'strong_wolfe'",
        ),
        (lambda p: optim.Optimizer(p, {}).step(), "Optimizer does not define step"),
        (
            lambda p: optim.swa_utils.SWALR(optim.SGD(p, 0.1), 0.1, anneal_strategy="exp"),
            "one of 'cos' or 'linear'",
        ),
        (lambda p: optim.swa_utils.get_ema_avg_fn(2.0), "Invalid decay value"),
    ],
)
def test_what_is_refused(call: Any, message: str) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message) as caught:
        call([nn.Parameter(lazygrad.ones(2, 2))])
    assert isinstance(caught.value, lazygrad.LazygradError)


def test_sparse_adam_leaves_rows_alone() -> None:
    torch = pytorch()
    value = rng.standard_normal((5, 2))
    ours, theirs = nn.Embedding(5, 2, sparse=True), torch.nn.Embedding(5, 2, sparse=True).double()
    theirs.weight.data = torch.tensor(value)
    ours.weight.data = lazygrad.tensor(value, device="NUMPY")
    mine, yours = (
        optim.SparseAdam(ours.parameters(), lr=0.1),
        torch.optim.SparseAdam(theirs.parameters(), lr=0.1),
    )
    for rows in ([0, 1, 1], [1, 3], [0, 3, 4]):
        for library, table, optimizer, where in (
            (lazygrad, ours, mine, {"device": "NUMPY"}),
            (torch, theirs, yours, {}),
        ):
            optimizer.zero_grad()
            (table(library.tensor(rows, **where)) ** 2).sum().backward()
            optimizer.step()
        np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-8)


class Around(optim.Optimizer):
    """An optimizer around another one, made as PyTorch's is inside, without calling the making above."""

    def __init__(self, inner: optim.Optimizer):
        self._optimizer_step_pre_hooks: Any = {}
        self._optimizer_step_post_hooks: Any = {}
        self.inner, self.param_groups, self.defaults = inner, inner.param_groups, inner.defaults

    def step(self, closure: Any = None) -> None:
        self.inner.step()


def test_an_optimizer_that_makes_its_own_tables_of_hooks() -> None:
    weight = nn.Parameter(lazygrad.ones(2))
    around, seen = Around(optim.SGD([weight], lr=0.5)), []
    handle = around.register_step_post_hook(lambda optimizer, args, options: seen.append(optimizer))
    scheduler = optim.lr_scheduler.StepLR(around, 1)
    for _ in range(2):
        (weight * 1).sum().backward()
        around.step()
        scheduler.step()
        around.zero_grad()
        handle.remove()
    np.testing.assert_allclose(weight.detach().numpy(), 0.45)
    assert seen == [around]
