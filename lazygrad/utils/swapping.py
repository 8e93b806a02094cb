"""`swap_tensors`: two tensors that change places wherever they are referred to."""

from __future__ import annotations

from weakref import ref

from lazygrad.errors import ArgumentError
from lazygrad.tensors import Tensor


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Each becomes what the other was: class, values, gradient, hooks and attributes. Raises
    ArgumentError for results of recorded operations, to which graphs refer."""
    for t in (t1, t2):
        if not t.is_leaf:
            raise ArgumentError("[swap_tensors] only leaves can be swapped: detach() results first")
    t1.__dict__, t2.__dict__ = t2.__dict__, t1.__dict__
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    for t in (t1, t2):
        token = t._history.token
        if token is not None:
            token.tensor = ref(t)
