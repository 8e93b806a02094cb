"""What PyTorch refuses is refused, with an error of the same built-in type: on wrong inputs of PyTorch's own
table of operations."""

from __future__ import annotations

from typing import Any

import pytest
from torch_samples import OPS, refusal, title


@pytest.mark.parametrize("op", [op for op in OPS if op.error_inputs_func], ids=title)
def test_errors(op: Any) -> None:
    """What PyTorch refuses is refused, with an error of the same built-in type."""
    problems = []
    for wrong in op.error_inputs("cpu"):
        problems += refusal(op.op, wrong.sample_input)
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:8])
