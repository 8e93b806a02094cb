"""micrograd.cr (https://github.com/nogginly/micrograd.cr): the same in 32-bit floats, and exclusive or.

    python -m examples.family.micrograd_cr
"""

import json
import random
import sys
from pathlib import Path

import lazygrad as torch
from lazygrad import nn

DATA = Path(__file__).parents[1] / "data"
XS = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
YS = [1.0, -1.0, -1.0, 1.0]


def Value(data):
    return torch.tensor(data, requires_grad=True)  # float32


def readme():
    """The example of micrograd's README: (g, a, b)."""
    a, b = Value(-4.0), Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return g, a, b


def weights():
    """Of each layer, the rows of its neurons: weights, then bias."""
    return json.loads((DATA / "mlp_weights.json").read_text()).values()


def train_by_values(epochs):
    """Train the network 3-4-4-1 from single values; yield the loss of each epoch."""
    layers = [[[Value(w) for w in neuron] for neuron in layer] for layer in weights()]
    parameters = [p for layer in layers for neuron in layer for p in neuron]

    def output(values):
        for layer in layers:
            values = [sum((w * x for w, x in zip(weights, values, strict=True)), bias).tanh()
                      for *weights, bias in layer]
        return values[0]

    for _ in range(epochs):
        loss = sum((output(x) - y) ** 2 for x, y in zip(XS, YS, strict=True))
        for p in parameters:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in parameters:
                p -= 0.1 * p.grad
        yield loss.item()


def train_by_batch(epochs):
    """The same, all points at once."""
    layers = [torch.tensor(rows, requires_grad=True) for rows in weights()]
    xs, ys = torch.tensor(XS), torch.tensor(YS)
    for _ in range(epochs):
        x = xs
        for rows in layers:
            x = (x @ rows[:, :-1].T + rows[:, -1]).tanh()
        loss = ((x.squeeze(1) - ys) ** 2).sum()
        for p in layers:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in layers:
                p -= 0.1 * p.grad
        yield loss.item()


def exclusive_or(epochs, seed=0):
    """Train a network 2-2-1 of sigmoids, the four points one after the other in random order; what it says of
    each point then."""
    torch.manual_seed(seed)
    order = random.Random(seed)
    points = [([0.0, 0.0], 0.0), ([1.0, 0.0], 1.0), ([0.0, 1.0], 1.0), ([1.0, 1.0], 0.0)]
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1), nn.Sigmoid())
    for p in model.parameters():
        nn.init.uniform_(p, -1, 1) if p.ndim == 2 else nn.init.zeros_(p)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.jit  # the four steps of an epoch, replayed in one call
    def epoch(xs, ys):
        for x, y in zip(xs, ys, strict=True):
            loss = ((model(x) - y) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    for _ in range(epochs):
        order.shuffle(points)
        xs, ys = zip(*points, strict=True)
        epoch(torch.tensor(xs), torch.tensor(ys))
    with torch.no_grad():
        return {tuple(x): model(torch.tensor(x)).item() for x, _ in sorted(points)}


def rows():
    g, a, b = readme()
    g.backward()
    yield "README: g", "24.7041", g.item()
    yield "README: gradient of a", "138.8338", a.grad.item()
    for name, train in (("by batch", train_by_batch), ("by values", train_by_values)):
        losses = list(train(100))
        yield f"3-4-4-1, {name}, epoch 1: loss", "4.8239", losses[0]
        yield f"3-4-4-1, {name}, epoch 100: loss", "0.0023725", losses[-1]
    for (x, y), said in exclusive_or(10_000).items():
        yield f"exclusive or of {x:g} and {y:g}", "> 0.5" if x != y else "< 0.5", said


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("micrograd_cr", rows, losses=lambda: {"loss": train_by_batch(100)})
