"""Pictures of training: loss curves and decision boundaries, saved as PNG by matplotlib (`lazygrad[viz]`).

    from examples.family import plots
    file = plots.file_asked_for("moons.png")        # --plot [FILE] among the program's arguments
    if file:
        plots.save(file, plots.boundary(scores_of, points, labels), plots.curves(loss=losses))
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Panel = Callable[[Any], None]  # draws on matplotlib's axes

CELLS = 200  # of the grid of a decision boundary, to each side
MARGIN = 0.5
COLOURS = ("#4363d8", "#e6194b", "#3cb44b", "#f58231", "#911eb4", "#42d4f4")


def file_asked_for(default: str, arguments: Sequence[str] | None = None) -> str | None:
    """The file after `--plot` among a program's arguments, `default` where none is named; None without
    `--plot`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--plot" not in words:
        return None
    after = words[words.index("--plot") + 1:]
    return after[0] if after and not after[0].startswith("-") else default


def save(file: str, *panels: Panel) -> None:
    """Draw panels side by side into a PNG file, and say where it is."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install 'lazygrad[viz]'") from None
    figure = Figure(figsize=(5 * len(panels), 4.5), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axes)
    figure.savefig(file, format="png", dpi=120)
    print(f"drawn: {file}")


def curves(**series: Sequence[float]) -> Panel:
    """Numbers over the steps of a training, one line for each name."""

    def draw(axes: Any) -> None:
        for (name, numbers), colour in zip(series.items(), COLOURS, strict=False):
            axes.plot(range(len(numbers)), numbers, color=colour, label=name)
        axes.set_xlabel("step")
        axes.legend()
        axes.grid(alpha=0.3)

    return draw


def boundary(scores_of: Callable[[np.ndarray], Any], points: Any, labels: Any) -> Panel:
    """Points of the plane by their labels, over the class that a model sees everywhere.

    `scores_of` takes an array of points (n, 2) and returns n scores, whose sign is the class, or (n, classes)
    scores, the greatest of which is: arrays, tensors or lists.
    """

    def draw(axes: Any) -> None:
        places, kinds = np.asarray(points, np.float64), np.asarray(labels).reshape(-1)
        low, high = places.min(0) - MARGIN, places.max(0) + MARGIN
        x, y = np.meshgrid(*(np.linspace(a, b, CELLS) for a, b in zip(low, high, strict=True)))
        found = scores_of(np.stack([x.ravel(), y.ravel()], 1))
        scores = np.asarray(found.detach() if hasattr(found, "detach") else found, np.float64)
        scores = scores.reshape(x.size, -1)
        seen = (scores[:, 0] > 0) * 1 if scores.shape[1] == 1 else scores.argmax(1)
        names = np.unique(kinds)
        edges = np.arange(max(len(names), int(seen.max()) + 1) + 1) - 0.5
        axes.contourf(x, y, seen.reshape(x.shape), levels=edges, colors=COLOURS[:len(edges) - 1], alpha=0.25)
        for name, colour in zip(names, COLOURS, strict=False):
            here = places[kinds == name]
            axes.scatter(here[:, 0], here[:, 1], s=18, color=colour, edgecolors="white", linewidths=0.5)

    return draw
