"""PyTorch's `return_types` namespace: the types in which functions return several tensors."""

import lazygrad.tensors  # noqa: F401 - all files that make such types are loaded
from lazygrad.tensors.return_types import TYPES, return_type

# which no function gives here
return_type("linalg_eig", "eigenvalues", "eigenvectors")

# what functions give with and without `out=` is of one type
globals().update({f"{name}_out": kind for name, kind in TYPES.items()} | TYPES)
all_return_types = list(TYPES.values())
__all__ = ["all_return_types", *TYPES]  # noqa: PLE0604
