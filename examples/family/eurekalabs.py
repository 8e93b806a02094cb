"""micrograd of EurekaLabs (https://github.com/EurekaLabsAI/micrograd): three classes, softmax and AdamW.

    python -m examples.family.eurekalabs
    python -m examples.family.eurekalabs --plot yin_yang.png

The yin and yang are learned twice: from single values, as micrograd does it, and all points at once.
"""

import json
import sys
from pathlib import Path

import lazygrad as torch
import lazygrad.nn.functional as F
from lazygrad import nn

DATA = Path(__file__).parents[1] / "data"


def yin_yang():
    """Points to train and to validate, each with its class, and the starting weights."""
    read = json.loads((DATA / "yin_yang.json").read_text())
    return read["train"], read["val"], read["weights"]


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=1e-4)


def by_values(steps):
    """Train the network 2-8-3 from single values; yield the losses of training and of validation."""
    train, validate, weights = yin_yang()

    def Value(data):
        return torch.tensor(data, dtype=torch.float64, requires_grad=True)

    hidden, output = [[([Value(w) for w in neuron], Value(0.0)) for neuron in layer] for layer in weights]
    parameters = [p for layer in (hidden, output) for weights, bias in layer for p in (*weights, bias)]
    optimizer = adamw(parameters)

    def neuron(weights, bias, inputs):
        return sum((w * x for w, x in zip(weights, inputs, strict=True)), bias)

    def cross_entropy(point, label):
        values = [neuron(*of, point).tanh() for of in hidden]
        logits = [neuron(*of, values) for of in output]
        return sum(logit.exp() for logit in logits).log() - logits[label]

    def mean_loss(labelled):
        return sum(cross_entropy(point, label) for point, label in labelled) / len(labelled)

    @torch.jit
    def step():
        loss = mean_loss(train)
        with torch.no_grad():
            validation = mean_loss(validate)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, validation

    for _ in range(steps):
        loss, validation = step()
        yield loss.item(), validation.item()


def network():
    """The network 2-8-3 as a module, with the same weights."""
    _, _, weights = yin_yang()
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        for layer, starting in zip(model[::2], weights, strict=True):
            layer.weight.copy_(torch.tensor(starting, dtype=torch.float64))
            layer.bias.zero_()
    return model


def by_batch(model, steps):
    """Train a module, all points at once; yield the same."""
    train, validate, _ = yin_yang()
    optimizer = adamw(model.parameters())

    def mean_loss(labelled):
        points, labels = zip(*labelled, strict=True)
        return F.cross_entropy(model(torch.tensor(points, dtype=torch.float64)), torch.tensor(labels))

    for _ in range(steps):
        loss = mean_loss(train)
        with torch.no_grad():
            validation = mean_loss(validate)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item(), validation.item()


PUBLISHED = ((1, "1.0122152826497561"), (50, "0.19590229292912958"), (100, "0.03906091113485444"))


def training_rows(name, history):
    for step, loss in PUBLISHED:
        yield f"yin and yang, {name}, step {step}: loss", loss, history[step - 1][0]
    yield f"yin and yang, {name}, step 1: loss of validation", "1.053898", history[0][1]


def rows():
    yield from training_rows("by batch", list(by_batch(network(), 100)))
    yield from training_rows("by values", list(by_values(100)))


def plot(file):
    """The classes that the network sees, and both losses, by batch."""
    from examples.family import plots

    points, labels = zip(*yin_yang()[0], strict=True)
    model = network()
    training, validation = zip(*by_batch(model, 100), strict=True)
    boundary = plots.boundary(lambda places: model(torch.from_numpy(places)), points, labels)
    plots.save(file, boundary, plots.curves(training=training, validation=validation))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("eurekalabs", rows, plot)
