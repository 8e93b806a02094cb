"""MicroGrad.jl (https://github.com/LiorSinai/MicroGrad.jl): functions in, functions out.

    python -m examples.family.micrograd_jl
    python -m examples.family.micrograd_jl --plot moons.png

Its `pullback` is `vjp` here: the value of a function, and a function from the gradient of that value to the
gradients of the arguments. Arguments may be dataclasses, tuples and dicts of tensors.
"""

import csv
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import lazygrad as torch
import lazygrad.nn.functional as F
from lazygrad.func import vjp

DATA = Path(__file__).parents[1] / "data"


def sine_of_cosine():
    """The value of sin(cos(x)) at 0.6, and its derivative."""
    x = torch.tensor(0.6, dtype=torch.float64)
    value, pullback = vjp(lambda x: torch.sin(torch.cos(x)), x)
    (gradient,) = pullback(torch.ones_like(value))
    return value, gradient


@dataclass
class Polynomial:
    weights: torch.Tensor  # of 1, x, x**2 ...

    def __call__(self, x):
        return sum(weight * x**power for power, weight in enumerate(self.weights))


TARGET = [15.0, -2.1, 13.9, 1.5]


def fit_polynomial(steps, rate=1e-4):
    """Fit a cubic to 100 points by the pullback; yield the mean squared error of each step."""
    torch.manual_seed(0)
    xs = (torch.rand(100, dtype=torch.float64) - 0.5) * 10
    ys = Polynomial(torch.tensor(TARGET, dtype=torch.float64))(xs)
    model = Polynomial(torch.rand(4, dtype=torch.float64))
    for _ in range(steps):
        loss, pullback = vjp(lambda model: F.mse_loss(model(xs), ys), model)
        (down,) = pullback(torch.ones_like(loss))
        model = Polynomial(model.weights - rate * down.weights)
        yield loss.item()


@dataclass
class Dense:
    weight: torch.Tensor  # (outputs, inputs)
    bias: torch.Tensor

    @classmethod
    def drawn(cls, inputs, outputs):
        """With weights as Glorot and Bengio (2010) draw them."""
        scale = (24 / (inputs + outputs)) ** 0.5
        return cls((torch.rand(outputs, inputs) - 0.5) * scale, torch.zeros(outputs))

    def __call__(self, x):
        return (x @ self.weight.T + self.bias).relu()

    def moved(self, down, rate):
        return Dense(self.weight - rate * down.weight, self.bias - rate * down.bias)


def chain(layers, x):
    for layer in layers:
        x = layer(x)
    return x


def moons():
    """The first 200 moons: points and their classes."""
    with open(DATA / "make_moons.csv", newline="") as file:
        read = list(islice(csv.DictReader(file), 200))
    points = torch.tensor([[float(row["X"]), float(row["Y"])] for row in read])
    return points, torch.tensor([int(row["label"]) for row in read])


def logit_cross_entropy(scores, labels):
    return F.cross_entropy(scores, labels)


def hinge_loss(scores, labels):
    """The score of a class minus that of the other should be at least 1."""
    sign = 2 * labels - 1
    return (1 - sign * (scores[:, 1] - scores[:, 0])).relu().mean()


def train_moons(loss_of, steps=500, rate=0.5):
    """Train a chain 2-16-16-2 on moons; the layers and the losses of all steps."""
    torch.manual_seed(1)
    points, labels = moons()
    layers = (Dense.drawn(2, 16), Dense.drawn(16, 16), Dense.drawn(16, 2))

    @torch.jit
    def step(layers):
        loss, pullback = vjp(lambda layers: loss_of(chain(layers, points), labels), layers)
        (down,) = pullback(torch.ones_like(loss))
        return loss, tuple(layer.moved(d, rate) for layer, d in zip(layers, down, strict=True))

    losses = []
    for _ in range(steps):
        loss, layers = step(layers)
        losses.append(loss.item())
    return layers, losses


def rows():
    value, gradient = sine_of_cosine()
    yield "pullback of sin(cos(x)) at 0.6: value", "0.7347754747082689", value.item()
    yield "pullback of sin(cos(x)) at 0.6: gradient", "-0.3830028632421537", gradient.item()
    losses = list(fit_polynomial(200))
    yield "cubic, step 1: mean squared error", "", losses[0]
    yield "cubic, step 200: mean squared error", "", losses[-1]
    for loss_of in (logit_cross_entropy, hinge_loss):
        layers, losses = train_moons(loss_of)
        points, labels = moons()
        accuracy = (chain(layers, points).argmax(1) == labels).float().mean().item()
        yield f"moons, {loss_of.__name__}, step 500: loss", "", losses[-1]
        yield f"moons, {loss_of.__name__}, step 500: accuracy", "> 0.95", accuracy


def plot(file):
    """The decision boundary and the losses, with the cross entropy."""
    from examples.family import plots

    layers, losses = train_moons(logit_cross_entropy)
    boundary = plots.boundary(lambda places: chain(layers, torch.tensor(places).float()), *moons())
    plots.save(file, boundary, plots.curves(loss=losses))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("micrograd_jl", rows, plot)
