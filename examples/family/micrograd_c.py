"""micrograd.c (https://github.com/Jaykef/micrograd.c): two moons, with the weights that C's `rand` gives.

    python -m examples.family.micrograd_c
    python -m examples.family.micrograd_c --plot moons.png
"""

import csv
import sys
from itertools import islice
from pathlib import Path

import lazygrad as torch
from lazygrad import nn

DATA = Path(__file__).parents[1] / "data"
SIZES = (2, 16, 16, 1)
RAND_MAX = 2**31 - 1


def rand(seed):
    """What `rand()` of the GNU C library returns after `srand(seed)`: sums of the numbers 3 and 31 places
    back, without their lowest bit."""
    numbers = [seed]
    while len(numbers) < 31:
        numbers.append(16807 * numbers[-1] % RAND_MAX)
    numbers += numbers[:3]
    while True:
        numbers.append((numbers[-3] + numbers[-31]) % 2**32)
        if len(numbers) > 344:  # the first 310 sums are thrown away
            yield numbers[-1] >> 1


def moons():
    """The first 100 points, and their labels as -1 and +1."""
    with open(DATA / "make_moons.csv", newline="") as file:
        read = list(islice(csv.DictReader(file), 100))
    return [[float(row["X"]), float(row["Y"])] for row in read], [2 * int(row["label"]) - 1 for row in read]


def starting_weights():
    """Of each layer, the rows of its neurons; biases are 0."""
    drawn = (number / RAND_MAX * 2 - 1 for number in rand(1))
    return [[list(islice(drawn, before)) for _ in range(after)]
            for before, after in zip(SIZES, SIZES[1:], strict=False)]


def network():
    """The network 2-16-16-1 as a module, with these weights."""
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    model.double()
    with torch.no_grad():
        for layer, weights in zip(model[::2], starting_weights(), strict=True):
            layer.weight.copy_(torch.tensor(weights, dtype=torch.float64))
            layer.bias.zero_()
    return model


def train_by_batch(model, epochs):
    """Train a module, all points at once; yield the printed loss and the share of right points of each
    epoch."""
    points, labels = moons()
    points, labels = torch.tensor(points, dtype=torch.float64), torch.tensor(labels)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    for _ in range(epochs):
        scores = model(points).squeeze(1)
        hinge = (1 - labels * scores).relu().sum()
        penalty = 1e-4 * sum((p * p).sum() for p in model.parameters())  # printed, not learned from
        optimizer.zero_grad()
        hinge.backward()
        optimizer.step()
        printed = (hinge + penalty) / len(labels)
        yield printed.item(), ((scores > 0) == (labels > 0)).double().mean().item()


def train_by_values(epochs):
    """The same, from single values, with these weights."""
    points, labels = moons()

    def Value(data):
        return torch.tensor(data, dtype=torch.float64, requires_grad=True)

    layers = [[([Value(w) for w in neuron], Value(0.0)) for neuron in layer] for layer in starting_weights()]
    parameters = [p for layer in layers for weights, bias in layer for p in (*weights, bias)]

    def score(values):
        for layer in layers:
            values = [sum((w * x for w, x in zip(weights, values, strict=True)), bias)
                      for weights, bias in layer]
            if layer is not layers[-1]:
                values = [value.relu() for value in values]
        return values[0]

    @torch.jit
    def epoch():
        scores = [score(point) for point in points]
        hinge = sum((1 - label * score).relu() for label, score in zip(labels, scores, strict=True))
        with torch.no_grad():
            printed = (hinge + 1e-4 * sum(p * p for p in parameters)) / len(labels)
        for p in parameters:
            p.grad = None
        hinge.backward()
        with torch.no_grad():
            for p in parameters:
                p -= 0.01 * p.grad
        return printed, scores

    for _ in range(epochs):
        printed, scores = epoch()
        right = [(score.item() > 0) == (label > 0) for score, label in zip(scores, labels, strict=True)]
        yield printed.item(), sum(right) / len(right)


def rows():
    yield "rand() after srand(1)", "1804289383", float(next(rand(1)))
    for name, history in (("by batch", train_by_batch(network(), 100)), ("by values", train_by_values(100))):
        history = list(history)
        yield f"moons, {name}, epoch 1: loss", "1.445846", history[0][0]
        yield f"moons, {name}, epoch 100: loss", "0.011159", history[-1][0]
        yield f"moons, {name}, epoch 100: accuracy", "1.00", history[-1][1]


def plot(file):
    """The decision boundary and the losses, by batch."""
    from examples.family import plots

    model = network()
    losses = [loss for loss, _ in train_by_batch(model, 100)]
    boundary = plots.boundary(lambda places: model(torch.from_numpy(places)), *moons())
    plots.save(file, boundary, plots.curves(loss=losses))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("micrograd_c", rows, plot)
