"""PyTorch's `linalg` namespace: linear algebra, with names and arguments of torch.linalg."""

from lazygrad.errors import LinAlgError
from lazygrad.tensors.matrices import LINALG

globals().update(LINALG)
__all__ = ["LinAlgError", *LINALG]  # noqa: PLE0604
