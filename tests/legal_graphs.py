"""Checks in every test that the graphs that reach the engine are legal, before and after simplification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lazygrad import engine
from lazygrad.graph import Node
from lazygrad.simplify import simplify
from lazygrad.verify import verify


def simplify_checked(targets: Sequence[Node], *rest: Any) -> tuple[list[Node], dict[Node, Node]]:
    """What `simplify` does, between two verifications."""
    verify(targets)
    clean, mapping = simplify(targets, *rest)
    verify(clean, simplified=True)
    return clean, mapping


@pytest.fixture(autouse=True)
def legal_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine simplifies between two verifications, and takes no plan that an earlier process made."""
    monkeypatch.setattr(engine, "simplify", simplify_checked)
    monkeypatch.setattr(engine, "read_plan", lambda *_: None)
    monkeypatch.setattr(engine, "write_plan", lambda *_: None)
