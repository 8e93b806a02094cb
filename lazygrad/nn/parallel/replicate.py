"""A module for each of several devices: itself, on the one that there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.nn.module import Module


def replicate(network: Module, devices: Sequence[Any], detach: bool = False) -> list[Module]:
    """The module itself for each device."""
    return [network for _ in devices]
