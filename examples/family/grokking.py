"""Grokking Deep Learning, chapter 13 (https://github.com/iamtrask/Grokking-Deep-Learning).

    python -m examples.family.grokking

A framework in steps: each program of the chapter, with the weights that the chapter draws, by
NumPy's generator, which also gave every tensor of its framework a number.
"""

import sys
from pathlib import Path

import numpy as np

import lazygrad as torch
import lazygrad.nn.functional as F
from lazygrad import nn

DATA = Path(__file__).parents[1] / "data"
POINTS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
TARGETS = [[0.0], [1.0], [0.0], [1.0]]


def drawn(*shape):
    """A parameter of numbers between 0 and 1, in float64."""
    values = np.random.rand(*shape)
    np.random.randint(0, 100000)  # the number of the tensor
    return torch.tensor(values, requires_grad=True)


def begin(seed=0):
    """Seed the generator, and make the tensors of the points and of the targets."""
    np.random.seed(seed)
    np.random.randint(0, 100000, size=2)
    return torch.tensor(POINTS, dtype=torch.float64), torch.tensor(TARGETS, dtype=torch.float64)


class Linear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(drawn(inputs, outputs))
        self.bias = nn.Parameter(drawn(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class Embedding(nn.Module):
    def __init__(self, words, size):
        super().__init__()
        self.weight = nn.Parameter((drawn(words, size).detach() - 0.5) / size)

    def forward(self, words):
        return self.weight[words]


def squared_error(found, target):
    return ((found - target) ** 2).sum()


def train(parameters, loss_of, rate, steps=10):
    """The loss of each step."""
    optimizer = torch.optim.SGD(parameters, lr=rate)
    for _ in range(steps):
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def two_matrices():
    """Parts 7 and 8: autograd, and an optimizer."""
    points, targets = begin()
    w0, w1 = drawn(2, 3), drawn(3, 1)
    return train([w0, w1], lambda: squared_error(points @ w0 @ w1, targets), rate=0.1)


def layers():
    """Parts 9 to 11: layers that hold layers."""
    points, targets = begin()
    model = nn.Sequential(Linear(2, 3), Linear(3, 1))
    return train(model.parameters(), lambda: squared_error(model(points), targets), rate=0.05)


def nonlinearities():
    """Part 12: tanh and sigmoid."""
    points, targets = begin()
    model = nn.Sequential(Linear(2, 3), nn.Tanh(), Linear(3, 1), nn.Sigmoid())
    return train(model.parameters(), lambda: squared_error(model(points), targets), rate=1.0)


def embedding():
    """Parts 13 to 15: words as vectors."""
    _, targets = begin()
    words = torch.tensor([1, 2, 1, 2])
    model = nn.Sequential(Embedding(5, 3), nn.Tanh(), Linear(3, 1), nn.Sigmoid())
    return train(model.parameters(), lambda: squared_error(model(words), targets), rate=0.5)


def cross_entropy():
    """Part 16: the chapter prints the mean, its gradient is that of the sum."""
    begin()
    words, classes = torch.tensor([1, 2, 1, 2]), torch.tensor([0, 1, 0, 1])
    model = nn.Sequential(Embedding(3, 3), nn.Tanh(), Linear(3, 4))
    loss_of = lambda: F.cross_entropy(model(words), classes, reduction="sum")  # noqa: E731
    return (loss / len(words) for loss in train(model.parameters(), loss_of, rate=0.1))


def stories(lines=1000):
    """The sentences of bAbI's first task as rows of six numbers, padded on the left; and the words."""
    text = (DATA / "babi_qa1_train.txt").read_text().lower().split("\n")[:lines]
    sentences = [line.split(" ")[1:] for line in text]
    sentences = [["-"] * (6 - len(sentence)) + sentence for sentence in sentences]
    words = sorted({word for sentence in sentences for word in sentence})
    number = {word: i for i, word in enumerate(words)}
    return torch.tensor([[number[word] for word in sentence] for sentence in sentences]), words


class RNNCell(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.from_input = nn.Linear(inputs, hidden)
        self.from_hidden = nn.Linear(hidden, hidden)
        self.to_output = nn.Linear(hidden, outputs)

    def forward(self, x, hidden):
        hidden = (self.from_input(x) + self.from_hidden(hidden)).sigmoid()
        return self.to_output(hidden), hidden


def next_word(steps):
    """Predict the sixth word of 100 sentences from five; yield the loss and the share of right words."""
    torch.manual_seed(0)
    sentences, words = stories()
    sentences = sentences[:100]
    embed = nn.Embedding(len(words), 16)
    model = RNNCell(16, 16, len(words))
    for name, p in model.named_parameters():
        nn.init.normal_(p, std=(2 / p.shape[1]) ** 0.5) if name.endswith("weight") else nn.init.zeros_(p)
    nn.init.uniform_(embed.weight, -0.5 / 16, 0.5 / 16)
    optimizer = torch.optim.SGD([*model.parameters(), *embed.parameters()], lr=0.05)

    @torch.jit
    def step():
        hidden = torch.zeros(len(sentences), 16)
        for t in range(5):
            output, hidden = model(embed(sentences[:, t]), hidden)
        loss = F.cross_entropy(output, sentences[:, 5], reduction="sum")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = output.argmax(1) == sentences[:, 5]
        return loss.detach() / len(sentences), right.float().mean()

    for _ in range(steps):
        loss, accuracy = step()
        yield loss.item(), accuracy.item()


PUBLISHED = (
    (two_matrices, "0.58128304", "0.06849361"),
    (layers, "11.42180388", "0.38275206"),
    (nonlinearities, "1.28634864", "0.04833711"),
    (embedding, "1.18885296", "0.07913132"),
    (cross_entropy, "1.4109475131065765", "0.48549237067231643"),
)


def rows():
    for program, first, last in PUBLISHED:
        losses = list(program())
        name = program.__name__.replace("_", " ")
        yield f"{name}, iteration 1: loss", first, losses[0]
        yield f"{name}, iteration 10: loss", last, losses[-1]
    yield "recurrent network, iteration 1000: share of right words", ">= 0.35", list(next_word(1000))[-1][1]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("grokking", rows, losses=lambda: {"loss": (loss for loss, _ in next_word(1000))})
