"""go-micrograd (https://github.com/nathan-barry/go-micrograd): one weight learns to double.

    python -m examples.family.go_micrograd
"""

import sys
from pathlib import Path

import lazygrad as torch


def learn_to_double(steps):
    """Six steps from w = 0.4; yield the loss of each step and w after it."""
    x = torch.tensor(2.0, dtype=torch.float64)
    y = torch.tensor(4.0, dtype=torch.float64)
    w = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    for _ in range(steps):
        loss = (w * x - y) ** 2
        w.grad = None
        loss.backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
        yield loss.item(), w.item()


PUBLISHED = (
    ("10.24", "1.68"),
    ("0.4096", "1.936"),
    ("0.01638", "1.987"),
    ("0.0006554", "1.997"),
    ("2.621e-05", "1.999"),
    ("1.049e-06", "2"),
)


def rows():
    for i, ((loss, w), (our_loss, our_w)) in enumerate(zip(PUBLISHED, learn_to_double(6), strict=True)):
        yield f"Iter: {i}, Loss", loss, f"{our_loss:.4g}"
        yield f"Iter: {i}, w", w, f"{our_w:.4g}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("go_micrograd", rows, losses=lambda: {"loss": (loss for loss, _ in learn_to_double(6))})
