"""Writes the table of docs/from-pytorch.md, the state of each name in docs/torch_names.txt:

python docs/make_from_pytorch.py
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import lazygrad
from lazygrad.torch_name import our_name

HERE = Path(__file__).parent
NAMES, PAGE = HERE / "torch_names.txt", HERE / "from-pytorch.md"
BEGIN, END = "<!-- table: written by make_from_pytorch.py -->\n", "<!-- end of the table -->\n"
WORKS, ACCEPTED, REFUSED = "works", "accepted, without effect", "error that says what to do"
MISSING, NEITHER = "missing", "missing, in PyTorch 2.13 too"


def read_names() -> list[tuple[str, str, int, bool]]:
    """(section, name, files that use it, whether PyTorch has it) for each name."""
    lines = [line.split("\t") for line in NAMES.read_text().splitlines() if line and not line.startswith("#")]
    return [(section, name, int(count), not rest) for section, name, count, *rest in lines]


def owners() -> dict[str, Any]:
    """What the first words of names that are not modules stand for."""
    parameter = lazygrad.zeros(1, requires_grad=True)
    return {
        "Tensor": lazygrad.Tensor,
        "Module": lazygrad.nn.Module(),
        "Optimizer": lazygrad.optim.SGD([parameter], lr=0.1),
    }


def find(name: str, known: dict[str, Any]) -> Any:
    """What a name stands for. Raises AttributeError or ImportError where it is nothing."""
    if name.startswith("import "):
        return importlib.import_module(our_name(name.removeprefix("import ")))
    first, *rest = name.split(".")
    found, path = known.get(first, lazygrad), first
    for word in rest:
        path = f"{path}.{word}"
        if path == "torch.ops":  # `lazygrad.ops` is another thing
            found = importlib.import_module(our_name(path))
            continue
        try:
            found = getattr(found, word)
        except AttributeError:
            if first in known:
                raise
            found = importlib.import_module(our_name(path))
    return found


def state_of(name: str, known: dict[str, Any]) -> str:
    """One of the four states."""
    try:
        found = find(name, known)
    except (AttributeError, ImportError):
        if name == "torch.version.cuda.split":  # None, as in PyTorch for the CPU
            return WORKS
        return MISSING
    if hasattr(found, "instead"):
        return REFUSED
    module = found.__name__ if name.startswith("import ") else getattr(found, "__module__", "")
    if str(module).startswith("lazygrad.inert"):
        return ACCEPTED
    return ACCEPTED if name.startswith("import ") and getattr(found, "__file__", None) is None else WORKS


def states() -> list[tuple[str, str, int, str]]:
    """(section, name, files that use it, state) for each name."""
    known = owners()
    found = []
    for section, name, count, in_pytorch in read_names():
        state = state_of(name, known)
        state = NEITHER if state == MISSING and not in_pytorch else state
        found.append((section, name, count, state))
    return found


def table() -> str:
    """The text between the marks of the page."""
    rows = states()
    kinds = (WORKS, ACCEPTED, REFUSED, MISSING, NEITHER)
    lines = ["| names used by | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
    for title, least in (("any file", 0), ("two files or more", 2)):
        counts = Counter(state for *_, count, state in rows if count >= least)
        total = sum(counts.values())
        lines.append(
            f"| {title} ({total}) | "
            + " | ".join(f"{counts[k]} ({counts[k] / total:.1%})" for k in kinds)
            + " |"
        )
    for section in dict.fromkeys(row[0] for row in rows):
        lines += ["", f"### {section}", "", "| name | files | state |", "|---|---:|---|"]
        lines += [f"| `{name}` | {count} | {state} |" for s, name, count, state in rows if s == section]
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """A page with the table as it is now."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
    assert pattern.search(page), "the page has no marks for the table"
    return pattern.sub(lambda _: f"{BEGIN}\n{table()}\n{END}", page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
