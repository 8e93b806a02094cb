"""What a first run costs: equal kernels are made once, and a repeated step settles on one plan."""

import pytest

import lazygrad as lg
from lazygrad import config, engine, nn, optim
from lazygrad.engine import backend
from lazygrad.nn import functional as F


@pytest.fixture(autouse=True)
def fresh(tmp_path):
    """Nothing on disk, so that plans are made here."""
    with config.override(CACHE_DIR=tmp_path):
        yield


def programs_of(work):
    """The programs that a new plan of some work launches."""
    before = set(map(id, engine._plans.values()))
    work().realize()
    return [step.kernel.program
            for plan in engine._plans.values() if id(plan) not in before for step in plan.steps]


def test_equal_work_in_memories_of_other_sizes_is_one_kernel():
    small, big = (lg.randn(n, 70).realize() for n in (66, 300))
    w = lg.randn(70, 70).realize()

    def through(h):
        for _ in range(4):
            h = (h @ w).tanh()
        return h

    alone = programs_of(lambda: through(small))
    assert len(alone) == 4
    # what the larger work has left serves the smaller
    after = programs_of(lambda: through(small + through(big).sum()))
    assert set(alone[1:3]) & set(after[5:])


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_a_step_with_small_parameters_settles_on_one_plan(momentum):
    """Parameters have memory of their own at first, and then stand in a slab with other small ones."""
    lg.manual_seed(0)
    norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(4)])
    convolutions = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(4)])
    first, head = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(8, 5)

    def model(x):
        x = first(x)
        for norm, convolution in zip(norms, convolutions, strict=True):
            x = F.relu(norm(convolution(x)) + x)
        return head(F.adaptive_avg_pool2d(x, 1).flatten(1))

    parameters = [p for part in (norms, convolutions, first, head) for p in part.parameters()]
    optimizer = optim.SGD(parameters, lr=0.01, momentum=momentum)
    x, y = lg.randn(2, 3, 8, 8).realize(), lg.tensor([1, 3])
    made = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        loss.item()
        made.append((len(engine._plans), len(backend._kernels)))
    assert made[-1] == made[2], made
    if config.get("DEVICE") == "CPU":
        assert made[-1][1] == made[1][1], made  # the third step compiles nothing


def compiled(work):
    """How many kernels were compiled for some work."""
    before = len(backend._kernels)
    work()
    return len(backend._kernels) - before


@pytest.mark.parametrize("read", [lambda x, t: x[t], lambda x, t: x[t:t + 3], lambda x, t: x[t, 2:]])
def test_a_kernel_serves_every_part_of_a_memory(read):
    """On the CPU; elsewhere where a part begins is a number among others of a plan."""
    with config.override(DEVICE="CPU"):
        x, w = lg.randn(9, 5, 7).realize(), lg.randn(7, 7).realize()
        whole = read(x, 0).clone().realize() * 1.0
        whole.realize()
        compiled(lambda: (whole @ w[:whole.shape[-1]]).tanh().realize())
        assert compiled(lambda: (read(x, 3) @ w[:whole.shape[-1]]).tanh().realize()) == 0
        # parts in one graph
        h, expected = lg.zeros(7), lg.zeros(7, device="NUMPY")
        y, v = x.to("NUMPY"), w.to("NUMPY")
        for t in range(6):
            h = (read(x, t).sum() + h @ w).tanh()
            expected = (read(y, t).sum() + expected @ v).tanh()
        assert compiled(lambda: h.realize()) <= 4
        assert lg.allclose(h, expected.to("CPU"), atol=1e-5)
