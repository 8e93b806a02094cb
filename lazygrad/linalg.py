"""PyTorch's `linalg` namespace: linear algebra, with names and arguments of torch.linalg."""

from typing import Any

from lazygrad.errors import LinAlgError
from lazygrad.helpers import named_in
from lazygrad.tensors.linalg.common import LINALG

globals().update(LINALG)
named_in(__name__, LINALG)
__all__ = ["LinAlgError", *LINALG]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}: lazygrad lacks it")
