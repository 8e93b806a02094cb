"""lazygrad.jit: training steps, gradients, and the state of modules, optimizers and generators."""

import gc
import warnings

import numpy as np
import pytest
from jit_support import arrays, same

import lazygrad as lg
from lazygrad import config, nn, optim
from lazygrad.errors import CaptureError, OutOfBoundsError
from lazygrad.nn import functional as F
from lazygrad.runtime.registry import open_device


@pytest.fixture(autouse=True)
def on_device(device):
    with config.override(DEVICE=device):
        yield device


def jitted(function):
    """A jitted function of which every warning is an error."""
    made = lg.jit(function)

    def run(*args):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return made(*args)

    return run


def train(optimizer_of, jit, steps=6, model_of=None, closure_zero=False):
    """Losses, parameters and state after some steps."""
    lg.manual_seed(3)
    model = model_of() if model_of else nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = optimizer_of(model.parameters())
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    def step(x, y):
        if not closure_zero:
            optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        if closure_zero:
            optimizer.zero_grad()
        return loss.detach()

    run = jitted(step) if jit else step
    losses = []
    for i in range(steps):
        x, y = arrays((6, 3), (6, 1), seed=i)
        losses.append(run(lg.tensor(x), lg.tensor(y)))
        schedule.step()
    state = [v.numpy() for s in optimizer.state.values() for v in s.values() if isinstance(v, lg.Tensor)]
    values = [v.detach().numpy() for v in model.state_dict().values()]
    grads = [p.grad.numpy() for p in model.parameters() if p.grad is not None]
    return [loss.item() for loss in losses], values, state, grads


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-2, nesterov=True),
    "Adam": lambda p: optim.Adam(p, 1e-2),
    "AMSGrad": lambda p: optim.AdamW(p, 1e-2, amsgrad=True),
    "NAdam": lambda p: optim.NAdam(p, 1e-2),
    "RAdam": lambda p: optim.RAdam(p, 1e-2),
    "Adamax": lambda p: optim.Adamax(p, 1e-2),
    "RMSprop": lambda p: optim.RMSprop(p, 1e-2, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, 1e-2, lr_decay=0.1),
    "Adadelta": lambda p: optim.Adadelta(p, 1e-2),
    "tensor lr": lambda p: optim.SGD(p, lg.tensor(0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_steps_are_those_of_python(name):
    wanted, got = train(OPTIMIZERS[name], False), train(OPTIMIZERS[name], True)
    for a, b in zip(wanted, got, strict=True):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(y, x, rtol=2e-5, atol=1e-6)


def test_gradients_that_are_dropped_in_the_step_stay_dropped():
    _, wanted, _, _ = train(OPTIMIZERS["Adam"], False, closure_zero=True)
    _, got, _, grads = train(OPTIMIZERS["Adam"], True, closure_zero=True)
    assert not grads
    for x, y in zip(wanted, got, strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_and_dropout_go_on(momentum):
    def model_of():
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8, momentum=momentum), nn.Dropout(0.5),
                             nn.Linear(8, 1))

    wanted = train(OPTIMIZERS["SGD"], False, model_of=model_of)
    after = lg.rand(3).numpy()
    got = train(OPTIMIZERS["SGD"], True, model_of=model_of)
    for a, b in zip(wanted, got, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(y, x, rtol=2e-5, atol=1e-6)
    same(lg.rand(3), after)  # the generator stands where it would stand without jit


def test_choices_are_drawn_anew():
    weights = lg.tensor([0.0, 1.0, 2.0, 1.0])
    draw = lg.jit(lambda w: (lg.multinomial(w, 2), lg.multinomial(w, 5, True), lg.bernoulli(w / 4)))
    lg.manual_seed(3)
    found = [[x.tolist() for x in draw(weights)] for _ in range(20)]
    lg.manual_seed(3)
    assert found == [[x.tolist() for x in draw.__wrapped__(weights)] for _ in range(20)]
    assert len({str(x) for x in found}) > 15 and all(0 not in first + more for first, more, _ in found)


def test_dropout_draws_anew_and_seeds_inside_are_repeated():
    x = lg.ones(64)
    drop = lg.jit(lambda x: F.dropout(x, 0.5))
    drawn = {drop(x).numpy().tobytes() for _ in range(6)}
    assert len(drawn) == 6

    @lg.jit
    def seeded():
        lg.manual_seed(7)
        return lg.rand(3)

    lg.manual_seed(7)
    wanted = lg.rand(3).numpy()
    for _ in range(4):
        same(seeded(), wanted)

    @lg.jit
    def forked(x):
        with lg.fork_rng():
            inside = lg.rand(2)
        return inside + x

    lg.manual_seed(1)
    first = forked(lg.zeros(2)).numpy()
    for _ in range(3):
        same(forked(lg.zeros(2)), first)


def test_train_and_eval_are_different_recordings():
    lg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    f = lg.jit(model)
    x = lg.ones(2, 3)
    for _ in range(3):
        model.train()
        f(x)
        model.eval()
        same(f(x).detach(), model(x).detach())


def test_values_written_from_outside_are_seen():
    model = nn.Linear(2, 1)
    f = lg.jit(lambda x: model(x).detach())
    x = lg.tensor([[1.0, 2.0]])
    for _ in range(3):
        f(x)
    with lg.no_grad():
        model.weight.copy_(lg.tensor([[1.0, 1.0]]))
        model.bias.zero_()
    same(f(x), [[3]])
    model.weight.data = lg.tensor([[2.0, 1.0]])
    same(f(x), [[4]])
    model.load_state_dict({"weight": lg.tensor([[3.0, 1.0]]), "bias": lg.tensor([1.0])})
    same(f(x), [[6]])
    model.weight = nn.Parameter(lg.tensor([[0.0, 1.0]]))
    same(f(x), [[3]])
    model.bias = None
    same(f(x), [[2]])


def test_gradients_that_are_kept_stay_as_they_were():
    p = lg.tensor([1.0, 2.0], requires_grad=True)

    @lg.jit
    def step(x):
        p.grad = None
        (p * x).sum().backward()

    kept = []
    for i in range(6):
        step(lg.tensor([float(i), 1.0]))
        kept.append(p.grad if i % 2 else p.grad[:1])
    for i, g in enumerate(kept):
        same(g, [i, 1] if i % 2 else [i])


def test_gradients_add_up():
    p = lg.tensor([1.0, 2.0], requires_grad=True)
    step = lg.jit(lambda x: (p * x).sum().backward())
    for i in range(6):
        step(lg.tensor([1.0, float(i)]))
    same(p.grad, [6, 15])
    p.grad = None
    step(lg.tensor([1.0, 1.0]))
    same(p.grad, [1, 1])


def test_arguments_collect_gradients():
    @lg.jit
    def f(x):
        (x * x).sum().backward()
        return x.detach() + 1

    for i in range(5):
        x = lg.tensor([float(i), 2.0], requires_grad=True)
        same(f(x), [i + 1, 3])
        same(x.grad, [2 * i, 4])


def test_results_go_on_with_gradients():
    w = lg.tensor([2.0, 3.0], requires_grad=True)
    f = lg.jit(lambda x: (w * x).sin())
    for i in range(5):
        w.grad = None
        x = lg.tensor([float(i), 1.0], requires_grad=True)
        y = f(x)
        assert y.requires_grad
        y.sum().backward()
        np.testing.assert_allclose(w.grad.numpy(), np.cos([2.0 * i, 3.0]) * [i, 1], rtol=1e-5)
        np.testing.assert_allclose(x.grad.numpy(), np.cos([2.0 * i, 3.0]) * [2, 3], rtol=1e-5)
        with lg.no_grad():
            w.add_(0)


def test_buffers_that_are_replaced():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", lg.zeros(2))
            self.last = None

        def forward(self, x):
            self.mean = self.mean * 0.5 + x * 0.5
            self.last = x + 1
            return self.mean.sum()

    plain, model = Mean(), Mean()
    f = lg.jit(model)
    held = []
    for i in range(6):
        x = lg.tensor([float(i), 1.0])
        assert f(x).item() == plain(x).item()
        held.append((model.mean, plain.mean))
        same(model.last, plain.last)
    for a, b in held:
        same(a, b)


def test_data_that_is_replaced():
    p = lg.tensor([1.0, 1.0], requires_grad=True)

    @lg.jit
    def step():
        p.grad = None
        (p * p).sum().backward()
        p.data = p.data - 0.25 * p.grad

    for _ in range(5):
        step()
    same(p.detach(), [1 / 32, 1 / 32])
    assert p.is_leaf


def test_schedules_inside_go_on():
    def losses(jit):
        p = lg.tensor([4.0], requires_grad=True)
        optimizer = optim.SGD([p], 0.1, momentum=0.9)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)

        def step():
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
            schedule.step()
            return p.detach() * 1

        run = lg.jit(step) if jit else step
        return [run().item() for _ in range(8)]

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-5)


def test_several_calls_of_one_schedule_state():
    model = nn.Linear(2, 2)
    optimizer = optim.Adam(model.parameters(), 1e-2)

    @lg.jit
    def step(x):
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()

    x = lg.ones(3, 2)
    for _ in range(5):
        step(x)
    saved = optimizer.state_dict()
    assert saved["state"][0]["step"].item() == 5
    weights = model.weight.detach().clone()
    optimizer.load_state_dict(saved)
    step(x)
    assert optimizer.state_dict()["state"][0]["step"].item() == 6
    assert (model.weight.detach() != weights).all().item()


def test_classes_and_embeddings():
    lg.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10))
    loss = lg.jit(lambda x, y: F.cross_entropy(model(x), y).detach())
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = (lg.tensor(rng.integers(0, 10, 6)) for _ in range(2))
        np.testing.assert_allclose(loss(x, y).item(), F.cross_entropy(model(x), y).item(), rtol=1e-5)
    with pytest.raises(OutOfBoundsError):
        loss(lg.tensor([10] * 6), lg.tensor([0] * 6))


def test_histories_from_outside_are_refused():
    w = lg.tensor([2.0], requires_grad=True)
    f = lg.jit(lambda h: (h * 3).sum().backward())
    f(w * w)
    with pytest.raises(CaptureError, match="gradients of a tensor that was computed before"):
        f(w * w)


def test_weights_that_are_tied():
    lg.manual_seed(0)

    def build():
        lg.manual_seed(0)
        a, b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        b.weight = a.weight
        model = nn.Sequential(a, b)
        return model, optim.SGD(model.parameters(), 0.1, momentum=0.5)

    def run(jit):
        model, optimizer = build()

        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = lg.jit(step) if jit else step
        return [step(lg.ones(2, 3)).item() for _ in range(6)], model[0].weight.detach().numpy()

    wanted, got = run(False), run(True)
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(got[1], wanted[1], rtol=1e-5)


def test_replays_hold_no_memory_but_that_of_the_state(on_device):
    if on_device == "NUMPY":
        pytest.skip("the interpreter allocates nothing for long")
    model = nn.Linear(300, 300)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, stats = lg.ones(2, 300).realize(), open_device(on_device).stats

    @lg.jit
    def step():
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()

    lg.realize(*model.parameters())
    gc.collect()
    before = stats.in_use
    for _ in range(4):
        step()
    gc.collect()
    size = 300 * 301 * 4
    assert stats.in_use - before < 2.8 * size  # gradients and momentum, blocks up to an eighth larger
