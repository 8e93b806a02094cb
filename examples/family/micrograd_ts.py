"""micrograd-ts (https://github.com/trekhleb/micrograd-ts): a neuron with labels, and a small network.

    python -m examples.family.micrograd_ts
    python -m examples.family.micrograd_ts --plot neuron.dot  # the graph of the neuron
"""

import json
import sys
from pathlib import Path

import lazygrad as torch
import lazygrad.nn.functional as F
from lazygrad import nn
from lazygrad.viz import draw_dot

DATA = Path(__file__).parents[1] / "data"
XS = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
YS = [1.0, -1.0, -1.0, 1.0]


def Value(data, label=None):
    value = torch.tensor(data, dtype=torch.float64, requires_grad=True)
    value.label = label
    return value


def neuron():
    """tanh(x1 * w1 + x2 * w2 + b), with labels: (o, x1, x2, w1, w2)."""
    x1, x2 = Value(2.0, "x1"), Value(0.0, "x2")
    w1, w2 = Value(-3.0, "w1"), Value(1.0, "w2")
    b = Value(6.8813735870195432, "b")
    n = x1 * w1 + x2 * w2 + b
    n.label = "n"
    o = n.tanh()
    o.label = "o"
    return o, x1, x2, w1, w2


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
        loss = sum((output(x) - y) ** 2 for x, y in zip(XS, YS, strict=True)) / len(XS)
        for p in parameters:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in parameters:
                p -= 0.2 * p.grad
        yield loss.item()


def train_by_batch(epochs):
    """The same, all points at once."""
    model = nn.Sequential(
        nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1), nn.Tanh(), nn.Flatten(0)
    ).double()
    for linear, rows in zip(model[:6:2], weights(), strict=True):
        rows = torch.tensor(rows, dtype=torch.float64)
        linear.load_state_dict({"weight": rows[:, :-1], "bias": rows[:, -1]})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    xs, ys = torch.tensor(XS, dtype=torch.float64), torch.tensor(YS, dtype=torch.float64)

    for _ in range(epochs):
        loss = F.mse_loss(model(xs), ys)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


GRADIENTS = ("-1.5", "0.5", "1.0", "0.0")


def rows():
    o, *inputs = neuron()
    o.backward()
    yield "neuron: o", "0.7071", o.item()
    for value, published in zip(inputs, GRADIENTS, strict=True):
        yield f"neuron: gradient of {value.label}", published, value.grad.item()

    for name, train in (("by batch", train_by_batch), ("by values", train_by_values)):
        losses = list(train(30))
        yield f"3-4-4-1, {name}, epoch 1: loss", "1.2059755035894837", losses[0]
        yield f"3-4-4-1, {name}, epoch 30: loss", "0.004609022783678673", losses[-1]


def plot(file):
    """The losses of the training; into a file that ends in ".dot", the graph of the neuron in the language of
    Graphviz, of which `dot -Tsvg neuron.dot` makes a picture."""
    if not file.endswith(".dot"):
        from examples.family import plots

        return plots.save(file, plots.curves(loss=list(train_by_batch(30))))
    o, *_ = neuron()
    o.backward()
    print("drawn:", draw_dot(o).save(file))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("micrograd_ts", rows, plot)
