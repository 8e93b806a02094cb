"""backprop (https://github.com/rickhull/backprop): quantities with names, and the tree of a result.

    python -m examples.family.backprop
"""

import sys
from pathlib import Path

import lazygrad as torch


def force():
    """Newton's second law: (force, mass, acc)."""
    mass = torch.tensor(25.0, requires_grad=True)
    acc = torch.tensor(10.0, requires_grad=True)
    force = mass * acc
    return force, mass, acc


def celsius():
    """From Fahrenheit: (c, f)."""
    f = torch.tensor(68.5, requires_grad=True)
    c = (f - 32) * 5 / 9
    return c, f


def rows():
    f, mass, acc = force()
    f.backward()
    yield "force = mass * acc", "250", f.item()
    yield "gradient of mass", "10", mass.grad.item()
    yield "gradient of acc", "25", acc.grad.item()

    c, f = celsius()
    c.backward()
    yield "c = (f - 32) * 5 / 9", "20.2778", c.item()
    yield "gradient of f", "0.5556", f.grad.item()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("backprop", rows())
