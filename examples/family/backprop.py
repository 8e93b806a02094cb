"""backprop (https://github.com/rickhull/backprop): quantities with names, and the tree of a result.

    python -m examples.family.backprop
"""

import sys
from pathlib import Path

import lazygrad as torch
from lazygrad.viz import describe


def force():
    """Newton's second law: (force, mass, acc)."""
    mass = torch.tensor(25.0, requires_grad=True)
    acc = torch.tensor(10.0, requires_grad=True)
    force = mass * acc
    mass.label, acc.label, force.label = "mass", "acc", "force"
    return force, mass, acc


def celsius():
    """From Fahrenheit: (c, f)."""
    f = torch.tensor(68.5, requires_grad=True)
    c = (f - 32) * 5 / 9
    return c, f


TREE = (
    "force(250.000 gradient=1.000 *(mass=25.000, acc=10.000))",
    "mass(25.000 gradient=10.000)",
    "acc(10.000 gradient=25.000)",
)


def rows():
    f, mass, acc = force()
    f.backward()
    yield "force = mass * acc", "250", f.item()
    yield "gradient of mass", "10", mass.grad.item()
    yield "gradient of acc", "25", acc.grad.item()
    for published, line in zip(TREE, describe(f).splitlines(), strict=True):
        yield "description", published, line.strip()

    c, f = celsius()
    c.backward()
    yield "c = (f - 32) * 5 / 9", "20.2778", c.item()
    yield "gradient of f", "0.5556", f.grad.item()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("backprop", rows)
