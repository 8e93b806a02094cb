"""PyTorch's private path of the functions that take functions."""

from lazygrad.control_flow import associative_scan, cond, scan, while_loop

__all__ = ["associative_scan", "cond", "scan", "while_loop"]
