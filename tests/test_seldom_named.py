"""Names of PyTorch's that other tests do not call: a value for each, beside PyTorch's."""

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad

X = np.linspace(0.1, 2.3, 12, dtype=np.float32).reshape(3, 4)
Y = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
VOLUME = np.linspace(-1, 1, 2 * 3 * 4 * 5 * 6, dtype=np.float32).reshape(2, 3, 4, 5, 6)


def unpooled(m, image):
    nn = m.nn
    pooled, where = nn.MaxPool2d(2, return_indices=True)(image)
    return nn.MaxUnpool2d(2)(pooled, where)


CALLS = {
    "ger": lambda m, x, y: m.ger(x[0], y[1]),
    "tensor_split": lambda m, x, y: m.tensor_split(x, (1, 3), dim=1),
    "expand_as": lambda m, x, y: x[:1].expand_as(y),
    "view_as": lambda m, x, y: x.view_as(y.view(4, 3)),
    "reshape_as": lambda m, x, y: x.t().reshape_as(y),
    "triu_": lambda m, x, y: x.clone().triu_(1),
    "scatter_add_": lambda m, x, y: x.clone().scatter_add_(1, m.tensor([[0, 0, 1, 3]] * 3), y),
    "expm1_": lambda m, x, y: x.clone().expm1_(),
    "log1p_": lambda m, x, y: x.clone().log1p_(),
    "log_": lambda m, x, y: x.clone().log_(),
    "round_": lambda m, x, y: x.clone().round_(),
    "NLLLoss": lambda m, x, y: m.nn.NLLLoss()(y.log_softmax(1), m.tensor([0, 3, 1])),
    "BCEWithLogitsLoss": lambda m, x, y: m.nn.BCEWithLogitsLoss(pos_weight=x[0].detach())(y, (y > 0).float()),
    "L1Loss": lambda m, x, y: m.nn.L1Loss(reduction="sum")(x, y),
    "SmoothL1Loss": lambda m, x, y: m.nn.SmoothL1Loss(beta=0.5)(x, y),
    "ReflectionPad1d": lambda m, x, y: m.nn.ReflectionPad1d((2, 1))(x),
    "AdaptiveAvgPool3d": lambda m, x, y: m.nn.AdaptiveAvgPool3d((2, None, 3))(m.tensor(VOLUME)),
    "MaxUnpool2d": lambda m, x, y: unpooled(m, m.tensor(VOLUME[0])),
    "ones_": lambda m, x, y: m.nn.init.ones_(x.clone()),
}


@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients(name):
    results = []
    for m in (lazygrad, pytorch()):
        x, y = (m.tensor(v, requires_grad=True) for v in (X, Y))
        found = CALLS[name](m, x, y)
        parts = found if isinstance(found, tuple | list) else [found]
        wanted = [part for part in parts if part.requires_grad]
        if wanted:
            sum((part * part).sum() for part in wanted).backward()
        grads = [m.zeros_like(v) if v.grad is None else v.grad for v in (x, y)]
        results.append([part.detach() for part in parts] + grads)
    check(*results)


QUESTIONS = {
    "is_tensor": lambda m: (m.is_tensor(m.ones(1)), m.is_tensor([1])),
    "flags": lambda m: [getattr(m.ones(1), name) for name in ("is_cuda", "is_xpu", "is_mps", "is_cpu")],
    "new_empty": lambda m: (m.ones(1).new_empty(2, 3).shape, m.ones(1, dtype=m.int8).new_empty(2).itemsize),
    "fans": lambda m: m.nn.init._calculate_fan_in_and_fan_out(m.ones(4, 3, 2, 2)),
    "share_memory": lambda m: isinstance(m.nn.Linear(2, 2).share_memory(), m.nn.Linear),
    "deterministic": lambda m: isinstance(m.backends.cudnn.deterministic, bool),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_answers(name):
    ours, theirs = (QUESTIONS[name](m) for m in (lazygrad, pytorch()))
    assert ours == theirs


def test_the_old_name_of_an_initializer_warns():
    x = lazygrad.empty(50, 40)
    with pytest.warns(FutureWarning, match="kaiming_normal_"):
        lazygrad.nn.init.kaiming_normal(x)
    assert 0.1 < x.std().item() < 0.4


def test_states_of_random_numbers_of_devices():
    from lazygrad.utils.checkpoint import get_device_states, set_device_states

    kinds, states = get_device_states(lazygrad.ones(1))
    set_device_states(kinds, states)
    assert list(kinds) == [] and list(states) == []
