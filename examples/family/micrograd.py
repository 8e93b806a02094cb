"""micrograd (https://github.com/karpathy/micrograd): numbers that know how they were made.

    python -m examples.family.micrograd
    python -m examples.family.micrograd --plot moons.png

A `Value` is a tensor without axes. The two moons are trained twice: from single values, as micrograd does it,
and all points at once. Without `torch.jit` the first gives the same numbers, and takes Python's time to make
65,818 values in each step; with it, two steps take that time, and all others milliseconds.
"""

import json
import sys
from pathlib import Path

import lazygrad as torch
from lazygrad import nn

DATA = Path(__file__).parents[1] / "data"


def Value(data):
    return torch.tensor(data, dtype=torch.float64, requires_grad=True)


def readme():
    """The example of the README: (g, a, b)."""
    a = Value(-4.0)
    b = Value(2.0)
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


def sanity_check():
    """The first test of micrograd: (y, x)."""
    x = Value(-4.0)
    z = 2 * x + 2 + x
    q = z.relu() + z * x
    h = (z * z).relu()
    y = h + q + q * x
    return y, x


def rate(k):
    return 1.0 - 0.9 * k / 100


def two_moons():
    """100 points, their labels -1 and +1, and the weights to start from, [layer][neuron][input]."""
    return json.loads((DATA / "two_moons.json").read_text()).values()


def two_moons_by_values(steps):
    """Train the network 2-16-16-1 from single values; yield the loss and the share of right points of each
    step."""
    points, labels, weights = two_moons()
    points = [[torch.tensor(x, dtype=torch.float64) for x in point] for point in points]
    layers = [[([Value(w) for w in neuron], Value(0.0)) for neuron in layer] for layer in weights]
    parameters = [p for layer in layers for weights, bias in layer for p in (*weights, bias)]

    def score(values):
        for layer in layers:
            values = [sum((w * x for w, x in zip(weights, values, strict=True)), bias)
                      for weights, bias in layer]
            if layer is not layers[-1]:
                values = [value.relu() for value in values]
        return values[0]

    @torch.jit
    def step(rate):
        scores = [score(point) for point in points]
        losses = [(1 - label * score).relu() for label, score in zip(labels, scores, strict=True)]
        loss = sum(losses) / len(losses) + 1e-4 * sum(p * p for p in parameters)
        for p in parameters:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in parameters:
                p -= rate * p.grad
        return loss, scores

    for k in range(steps):
        loss, scores = step(torch.tensor(rate(k), dtype=torch.float64))
        right = [(score.item() > 0) == (label > 0) for score, label in zip(scores, labels, strict=True)]
        yield loss.item(), sum(right) / len(right)


def network():
    """The network 2-16-16-1 as a module, with the same weights."""
    _, _, weights = two_moons()
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    model.double()
    with torch.no_grad():
        for layer, starting in zip(model[::2], weights, strict=True):
            layer.weight.copy_(torch.tensor(starting, dtype=torch.float64))
            layer.bias.zero_()
    return model


def two_moons_by_batch(model, steps):
    """Train a module, all points at once; yield the same."""
    points, labels, _ = two_moons()
    points, labels = torch.tensor(points, dtype=torch.float64), torch.tensor(labels)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate(0))

    for k in range(steps):
        scores = model(points).squeeze(1)
        loss = (1 - labels * scores).relu().mean() + 1e-4 * sum((p * p).sum() for p in model.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rate(k)
        optimizer.step()
        yield loss.item(), ((scores > 0) == (labels > 0)).double().mean().item()


TWO_MOONS = (
    (0, "0.8958441028683222", "0.50"),
    (1, "1.7235905336972022", "0.81"),
    (10, "0.24507023853658053", "0.91"),
    (99, "0.010978370135492717", "1.00"),
)


def training_rows(name, history):
    for step, loss, accuracy in TWO_MOONS:
        yield f"two moons, {name}, step {step}: loss", loss, history[step][0]
        yield f"two moons, {name}, step {step}: accuracy", accuracy, history[step][1]
    first = next(step for step, (_, accuracy) in enumerate(history) if accuracy == 1)
    yield f"two moons, {name}: first step with all points right", "40", first


def rows():
    g, a, b = readme()
    g.backward(retain_graph=True)  # the graph is kept: it is asked again below
    yield "README: g", "24.7041", g.item()
    yield "README: gradient of a", "138.8338", a.grad.item()
    yield "README: gradient of b", "645.5773", b.grad.item()
    g.backward()
    yield "README: gradient of a after a second backward", "277.667638", a.grad.item()
    yield "README: gradient of b after a second backward", "1291.154519", b.grad.item()

    y, x = sanity_check()
    y.backward()
    yield "sanity check: y", "-20", y.item()
    yield "sanity check: gradient of x", "46", x.grad.item()

    yield from training_rows("by batch", list(two_moons_by_batch(network(), 100)))
    yield from training_rows("by values", list(two_moons_by_values(100)))


def plot(file):
    """The decision boundary and the losses, by batch."""
    from examples.family import plots

    points, labels, _ = two_moons()
    model = network()
    losses = [loss for loss, _ in two_moons_by_batch(model, 100)]
    boundary = plots.boundary(lambda places: model(torch.from_numpy(places)), points, labels)
    plots.save(file, boundary, plots.curves(loss=losses))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("micrograd", rows, plot)
