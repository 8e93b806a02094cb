"""Linear algebra: all files of it, so that their functions are published."""

from lazygrad.tensors import matrices, triangular

__all__ = ["matrices", "triangular"]
