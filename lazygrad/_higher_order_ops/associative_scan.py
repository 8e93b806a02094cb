"""PyTorch's private path of `associative_scan`."""

from lazygrad.control_flow import associative_scan

__all__ = ["associative_scan"]
