"""What works on parameters and modules from outside, under the names of torch.nn.utils."""

from lazygrad.nn.utils import rnn

__all__ = ["rnn"]
