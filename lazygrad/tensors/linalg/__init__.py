"""Linear algebra: all files of it, so that their functions are published."""

from lazygrad.tensors.linalg import (  # noqa: F401
    extreme_eigenvalues,
    matrix_functions,
    norms,
    orthogonal,
    solving,
    symmetric,
    triangular,
)
