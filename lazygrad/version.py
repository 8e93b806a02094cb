"""PyTorch's `version` namespace: whose surface this is, and what it was built with."""

from lazygrad import __version__ as lazygrad_version

TORCH_VERSION = f"2.13.0+lazygrad.{lazygrad_version}"  # the surface that lazygrad follows

__version__ = TORCH_VERSION
git_version = None
debug = False
cuda = None  # code asks whether this is None, or splits it
hip = None
xpu = None
