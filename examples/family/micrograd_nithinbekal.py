"""micrograd of nithinbekal, in Ruby: one expression, and a gradient that the caller gives.

    python -m examples.family.micrograd_nithinbekal
"""

import sys
from pathlib import Path

import lazygrad as torch


def expression():
    """l = (a * b + c) * f: (l, a, b, c, f)."""
    a = torch.tensor(2.0, requires_grad=True)
    b = torch.tensor(-3.0, requires_grad=True)
    c = torch.tensor(10.0, requires_grad=True)
    f = torch.tensor(-2.0, requires_grad=True)
    l = (a * b + c) * f  # noqa: E741 - the name that its users know
    return l, a, b, c, f


PUBLISHED = {"a": "6", "b": "-4", "c": "-2", "f": "4"}


def rows():
    l, *leaves = expression()  # noqa: E741
    l.backward()
    yield "l = (a * b + c) * f", "-8", l.item()
    for (name, published), leaf in zip(PUBLISHED.items(), leaves, strict=True):
        yield f"gradient of {name}", published, leaf.grad.item()

    l, *leaves = expression()  # noqa: E741
    l.backward(torch.tensor(0.5))
    for (name, published), leaf in zip(PUBLISHED.items(), leaves, strict=True):
        yield f"gradient of {name}, backward from 0.5", f"{float(published) / 2:g}", leaf.grad.item()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("micrograd_nithinbekal", rows)
