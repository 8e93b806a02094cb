"""Linear algebra: all files of it, so that their functions are published."""

from lazygrad.tensors import (
    matrices,
    matrix_functions,
    matrix_norms,
    orthogonal,
    solving,
    symmetric,
    triangular,
)

__all__ = ["matrices", "matrix_functions", "matrix_norms", "orthogonal", "solving", "symmetric", "triangular"]
