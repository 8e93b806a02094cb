"""Recurrent layers and cells: RNN, LSTM, GRU."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError, ShapeError
from lazygrad.nn import init
from lazygrad.nn.functional import recurrence
from lazygrad.nn.functional.recurrence import MODES, Weights
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import Parameter, parameter_if
from lazygrad.nn.utils.rnn import PackedSequence, packing_of
from lazygrad.tensors import Tensor, autocasting


def _is_a(kind: type, name: str, value: Any) -> None:
    if not isinstance(value, kind):
        raise ArgumentTypeError(
            f"[RNN] {name} should be of type {kind.__name__}, got: {type(value).__name__}"
        )


def _uniform(module: Module, hidden_size: int) -> None:
    bound = 1.0 / math.sqrt(hidden_size) if hidden_size > 0 else 0
    for weight in module.parameters():
        init.uniform_(weight, -bound, bound)


class RNNBase(Module):
    """What all recurrent layers share: weights for each layer and direction, checks, and packed sequences."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_settings(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.mode, self.input_size, self.hidden_size, self.num_layers = (
            mode,
            input_size,
            hidden_size,
            num_layers,
        )
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        gates, hidden = MODES[mode].gates * hidden_size, proj_size or hidden_size
        directions = 2 if bidirectional else 1
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            size = input_size if layer == 0 else hidden * directions
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, size), "weight_hh": (gates, hidden)}
            if bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[:directions]:
                self._all_weights.append([f"{name}_l{layer}{suffix}" for name in shapes])
                for name, shape in zip(self._all_weights[-1], shapes.values(), strict=True):
                    setattr(self, name, Parameter(lazygrad.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from +-1 / sqrt(hidden_size)."""
        _uniform(self, self.hidden_size)

    def flatten_parameters(self) -> None:
        """Accepted; weights need not lie together."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [weight for weights in self.all_weights for weight in weights]

    def _weights(self) -> list[list[Weights]]:
        made = []
        for names in self._all_weights:
            found = {name.partition("_l")[0]: getattr(self, name) for name in names}
            made.append(
                Weights(
                    found["weight_ih"],
                    found["weight_hh"],
                    found.get("bias_ih"),
                    found.get("bias_hh"),
                    found.get("weight_hr"),
                )
            )
        width = 2 if self.bidirectional else 1
        return [made[i : i + width] for i in range(0, len(made), width)]

    # Checks

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raises RuntimeError for other axes than (T, N, input_size), packed (sum of lengths, input_size);
        ValueError for another dtype than the weights'."""
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype != weight.dtype and not autocasting.state.active:
            raise ArgumentError(
                f"[{type(self).__name__}] RNN input dtype ({input.dtype}) does not match weight dtype "
                f"({weight.dtype}). Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.ndim != expected:
            raise ShapeError(
                f"[{type(self).__name__}] input must have {expected} dimensions, got {input.ndim}"
            )
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                f"[{type(self).__name__}] input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.shape[-1]}"
            )

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the first state for an input."""
        sequences = input.shape[0 if self.batch_first else 1] if batch_sizes is None else int(batch_sizes[0])
        directions = 2 if self.bidirectional else 1
        return self.num_layers * directions, sequences, self.proj_size or self.hidden_size

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of an LSTM's first cell state for an input."""
        return (*self.get_expected_hidden_size(input, batch_sizes)[:2], self.hidden_size)

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raises RuntimeError for a state of another shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            text = msg.format(tuple(expected_hidden_size), list(hx.shape))
            raise ShapeError(f"[{type(self).__name__}] {text}")

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raises RuntimeError for an input or a first state of other shapes than the weights ask for."""
        self.check_input(input, batch_sizes)
        states = (hidden,) if isinstance(hidden, lazygrad.Tensor) else tuple(hidden)
        sizes = [expected(input, batch_sizes)
                 for expected in (self.get_expected_hidden_size, self.get_expected_cell_size)]
        for place, (state, size) in enumerate(zip(states, sizes, strict=False)):
            name = f"hidden[{place}]" if len(states) > 1 else "hidden"
            self.check_hidden_size(state, size, f"Expected {name} size {{}}, got {{}}")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """States whose sequences stand in another order; unchanged without one."""
        if permutation is None:
            return hx
        if isinstance(hx, tuple):
            return tuple(state.index_select(1, permutation) for state in hx)
        return hx.index_select(1, permutation)

    def _init_flat_weights(self) -> None:
        """Accepted: weights are looked up by their names in each call."""

    _update_flat_weights = _init_flat_weights

    def _weights_have_changed(self) -> bool:
        return False

    def _state_sizes(self) -> list[int]:
        return [self.proj_size or self.hidden_size, self.hidden_size][: MODES[self.mode].states]

    def _first_state(self, hx: Any, input: Tensor, sequences: int, batched: bool) -> tuple[Tensor, ...]:
        """The state before the first step: the given one, checked, or zeros."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = self._state_sizes()
        if hx is None:
            return tuple(
                lazygrad.zeros(count, sequences, size, dtype=input.dtype, device=input.device)
                for size in sizes
            )
        given = tuple(hx) if len(sizes) > 1 else (hx,)
        rank = 3 if batched else 2
        if any(t.ndim != rank for t in given):
            what, found = (
                ("hx and cx", f"({', '.join(f'{t.ndim}-D' for t in given)}) tensors")
                if len(given) > 1
                else ("hx", f"{given[0].ndim}-D tensor")
            )
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise ShapeError(
                f"[{type(self).__name__}] For {kind} input, {what} should also be {rank}-D but got {found}"
            )
        given = given if batched else tuple(t.unsqueeze(1) for t in given)
        for place, (t, size) in enumerate(zip(given, sizes, strict=True)):
            expected = (count, sequences, size)
            if tuple(t.shape) != expected:
                name = f"hidden[{place}]" if len(given) > 1 else "hidden"
                raise ShapeError(
                    f"[{type(self).__name__}] Expected {name} size {expected}, got {list(t.shape)}"
                )
        return given

    # Runs

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Hidden states of the last layer at every step, and the last state of all layers and directions.

        input: (T, N, input_size), (N, T, input_size) with batch_first, (T, input_size), or packed; hx: the
        first state, (layers * directions, N, hidden), a pair of them for LSTM; zeros where it is not given.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.ndim not in (2, 3):
            raise ArgumentError(
                f"[{self.mode}] {type(self).__name__}: Expected input to be 2D or 3D, "
                f"got {input.ndim}D instead"
            )
        batched = input.ndim == 3
        x = input if batched else input.unsqueeze(1)
        x = x.transpose(0, 1) if self.batch_first and batched else x
        self.check_input(x, None)
        if not x.shape[0]:
            raise ArgumentError(
                f"[{type(self).__name__}] Expected sequence length to be larger than 0 in RNN"
            )
        output, last = self._run(x, self._first_state(hx, x, x.shape[1], batched), None)
        if not batched:
            output, last = output.squeeze(1), tuple(t.squeeze(1) for t in last)
        elif self.batch_first:
            output = output.transpose(0, 1)
        return output, last if len(last) > 1 else last[0]

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, sizes, order, back = input
        self.check_input(data, sizes)
        packing = packing_of(input)
        state = self._first_state(hx, data, packing.sequences, True)
        if order is not None and hx is not None:
            state = tuple(t.index_select(1, order) for t in state)
        alive = None
        if packing.batch_sizes[-1] < packing.sequences:
            alive = packing.alive(data.device).unsqueeze(-1).unbind(0)
        output, last = self._run(packing.padded(data), state, alive)
        if back is not None:
            last = tuple(t.index_select(1, back) for t in last)
        return (
            PackedSequence(packing.packed(output), sizes, order, back),
            last if len(last) > 1 else last[0],
        )

    def _run(self, x: Tensor, state: tuple[Tensor, ...], alive: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        weights = self._weights()
        low = autocasting.state.active.get(autocasting._kind(x))
        if low is not None:
            # as in PyTorch: GRU alone goes on in the type of its input
            weights = [[w.to(low) for w in directions] for directions in weights]
            if self.mode != "GRU":
                x, state = x.to(low), tuple(t.to(low) for t in state)
        dropout = self.dropout if self.training else 0.0
        return recurrence.run_layers(MODES[self.mode], x, state, weights, alive, dropout)

    def extra_repr(self) -> str:
        shown = (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0),
            ("bidirectional", False),
        )
        text = "".join(
            f", {name}={getattr(self, name)}" for name, default in shown if getattr(self, name) != default
        )
        return f"{self.input_size}, {self.hidden_size}{text}"


def _check_settings(
    mode: str,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    batch_first: bool,
    dropout: float,
    proj_size: int,
) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1:
        raise ArgumentError(
            "[RNN] dropout should be a number in range [0, 1] representing the probability "
            "of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and "
            f"num_layers={num_layers}",
            stacklevel=4,
        )
    for kind, name, value in (
        (bool, "bias", bias),
        (bool, "batch_first", batch_first),
        (int, "input_size", input_size),
        (int, "hidden_size", hidden_size),
    ):
        _is_a(kind, name, value)
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if value <= 0:
            raise ArgumentError(f"[RNN] {name} must be greater than zero")
    if proj_size < 0:
        raise ArgumentError("[RNN] proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ArgumentError("[RNN] proj_size has to be smaller than hidden_size")
    if mode not in MODES:
        raise ArgumentError(f"[RNN] Unrecognized RNN mode: {mode}")


def _no_projection(kwargs: dict[str, Any]) -> None:
    if "proj_size" in kwargs:
        raise ArgumentError("[RNN] proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu, in `num_layers` layers.

    RNN(input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, device=None, dtype=None)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_projection(kwargs)
        nonlinearity = args[3] if len(args) > 3 else kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"[RNN] Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", *args[:3], *args[4:], **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: gates enter, forget, new and leave, in this order in the weights.

    LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, proj_size=0, device=None, dtype=None)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit: gates reset, update and new, in this order in the weights.

    GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    device=None, dtype=None)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """One step of a recurrence."""

    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = num_chunks * hidden_size
        self.weight_ih = Parameter(lazygrad.empty(gates, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(lazygrad.empty(gates, hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias_ih", parameter_if(bias, (gates,), device, dtype))
        self.register_parameter("bias_hh", parameter_if(bias, (gates,), device, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from +-1 / sqrt(hidden_size)."""
        _uniform(self, self.hidden_size)

    def _step(self, mode: str, input: Tensor, hx: Any) -> tuple[Tensor, ...]:
        name, states = type(self).__name__, MODES[mode].states
        if input.ndim not in (1, 2):
            raise ArgumentError(f"[{name}] {name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        given = None if hx is None else tuple(hx) if states > 1 else (hx,)
        for place, t in enumerate(given or ()):
            if t.ndim not in (1, 2):
                what = f"hx[{place}]" if states > 1 else "hidden"
                raise ArgumentError(f"[{name}] {name}: Expected {what} to be 1D or 2D, got {t.ndim}D instead")
        rows = input if input.ndim == 2 else input.unsqueeze(0)
        if given is None:
            zeros = lazygrad.zeros(rows.shape[0], self.hidden_size, dtype=input.dtype, device=input.device)
            given = (zeros,) * states
        elif input.ndim == 1:
            given = tuple(t.unsqueeze(0) for t in given)
        self._check_rows(rows, given)
        after = recurrence.step(
            MODES[mode], rows, given, Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        )
        return after if input.ndim == 2 else tuple(t.squeeze(0) for t in after)

    def _check_rows(self, rows: Tensor, state: tuple[Tensor, ...]) -> None:
        name = type(self).__name__
        if rows.shape[1] != self.input_size:
            raise ShapeError(
                f"[{name}] input has inconsistent input_size: got {rows.shape[1]} expected {self.input_size}"
            )
        for t in state:
            if tuple(t.shape) != (rows.shape[0], self.hidden_size):
                raise ShapeError(
                    f"[{name}] hidden has inconsistent hidden_size: got {tuple(t.shape)}, "
                    f"expected {(rows.shape[0], self.hidden_size)}"
                )

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += "" if self.bias is True else f", bias={self.bias}"
        shown = getattr(self, "nonlinearity", "tanh")
        return text if shown == "tanh" else f"{text}, nonlinearity={shown}"


class RNNCell(RNNCellBase):
    """One step of RNN: (N, input_size) and a state (N, hidden_size) to the next state."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state; hx is zeros where it is not given."""
        mode = f"RNN_{self.nonlinearity.upper()}"
        if mode not in MODES:
            raise ArgumentError(f"[RNNCell] Unknown nonlinearity: {self.nonlinearity}")
        return self._step(mode, input, hx)[0]


class LSTMCell(RNNCellBase):
    """One step of LSTM: (N, input_size) and a state (h, c) to the next state."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...]:
        """(h, c); hx is zeros where it is not given."""
        return self._step("LSTM", input, hx)


class GRUCell(RNNCellBase):
    """One step of GRU: (N, input_size) and a state (N, hidden_size) to the next state."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state; hx is zeros where it is not given."""
        return self._step("GRU", input, hx)[0]
