"""PyTorch's `functional` namespace: functions of the root that have Python code there."""

from lazygrad.tensors import FUNCTIONS

_NAMES = [
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors",
    "cartesian_prod", "cdist", "chain_matmul", "einsum", "istft", "meshgrid", "norm", "split", "stft",
    "tensordot", "unique", "unique_consecutive", "unravel_index",
]  # fmt: skip
globals().update({name: FUNCTIONS[name] for name in _NAMES})
