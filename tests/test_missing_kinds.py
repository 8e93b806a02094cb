"""Complex, sparse, quantized and nested tensors, wherever one could meet them: one kind of error that names
what is missing and says what to do; and what real, dense tensors answer."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from torch_support import pytorch

import lazygrad

x, i = lazygrad.ones(3, 2), lazygrad.ones(3, dtype=lazygrad.int64)

CALLS = {
    "complex": """
        t.complex(x, x); t.polar(x, x); t.view_as_complex(x); t.view_as_real(x); t.tensor(1j)
        t.tensor([1j, 2]); t.tensor(np.array([1j])); t.from_numpy(np.array([1j])); t.as_tensor([1j])
        t.scalar_tensor(1j); t.full((2,), 1j); t.zeros(2, dtype=t.complex64); t.rand(2, dtype=t.cfloat)
        t.randn(2, dtype=t.complex128); t.empty(2, dtype=t.complex32); t.arange(3, dtype=t.complex64)
        t.zeros_like(x, dtype=t.complex64); t.tensor([1.0], dtype=t.complex64)
        x.new_zeros(2, dtype=t.complex64); x.new_tensor([1j]); x.to(t.complex64); x.to(dtype=t.complex64)
        x.type(t.complex64); x.cfloat(); x.cdouble(); x.chalf(); x.view(t.complex64); x + 1j; 1j * x
        x - np.complex64(1j); x == 1j; x.fill_(1j); t.add(x, 1j); t.sum(x, dtype=t.complex64)
        t.softmax(x, 0, dtype=t.complex64); t.can_cast(t.float32, t.complex64)
        t.promote_types(t.float32, t.complex64); t.result_type(x, 1j); t.fft.fft(x); t.fft.rfft2(x)
        t.fft.irfft(x); t.stft(t.ones(64), 16, return_complex=True); t.nn.Linear(2, 2).to(t.complex64)
        t.nn.Linear(2, 2, dtype=t.complex64); x.masked_fill(x > 0, 1j); t.where(x > 0, x, 1j); x.clamp(1j)
        t.ComplexFloatStorage(2)
    """,
    "sparse": """
        t.sparse_coo_tensor(i, x); t.sparse_csr_tensor(i, i, x); t.sparse_compressed_tensor(i, i, x)
        t.sparse_csc_tensor(i, i, x); t.sparse_bsr_tensor(i, i, x); t.sparse_bsc_tensor(i, i, x)
        t.sparse.sum(x, 0); t.sparse.softmax(x, 0); t.sparse.sampled_addmm(x, x, x)
        t.sparse.FloatTensor(2, 3); t.smm(x, x); t.hspmm(x, x); t.sspaddmm(x, x, x); x.to_sparse()
        x.to_sparse_coo(); x.to_sparse_csr(); x.to_sparse_csc(); x.to_sparse_bsr((1, 1)); x.sparse_mask(x)
        x.coalesce(); x.indices(); x.values(); x._indices(); x._values(); x._nnz(); x.crow_indices()
        x.sparse_resize_((2,), 1, 1); t.zeros(2, layout=t.sparse_coo); t.rand(2, layout=t.sparse_csr)
        x.to(t.sparse_coo); t.sparse.to_sparse_semi_structured(x)
    """,
    "nested": """
        t.nested.nested_tensor([x, x]); t.nested.as_nested_tensor([x]); x.to_padded_tensor(0.0)
        t.nested.nested_tensor([x], layout=t.jagged); t.nested.to_padded_tensor(x, 0.0)
        t.zeros(2, layout=t.jagged); t.nested.nested_tensor_from_jagged(x, i); t.nested.narrow(x, 0, 0, 1)
        t._nested_tensor_from_mask(x, x)
    """,
    "quantized": """
        t.quantize_per_tensor(x, 1.0, 0, t.qint8); t.quantize_per_channel(x, x, x, 0, t.qint8)
        x.int_repr(); t.quantize_per_tensor_dynamic(x, t.qint8, False); x.q_scale(); x.q_zero_point()
        x.qscheme(); x.to(t.qint8); x.q_per_channel_axis(); t.int_repr(x); t.q_scale(x)
        t.zeros(2, dtype=t.quint8); t.empty_quantized((2,), x); t.ao.quantization.quantize_dynamic(x)
        t.quantization.prepare(x); t.nn.quantized.Linear(2, 2); t.ao.nn.quantized.dynamic.LSTM(2, 2)
        t.nn.intrinsic.ConvReLU2d(); t.quantized_max_pool2d(x, 2)
    """,
    "8 bits": "x.to(t.float8_e4m3fn); t.zeros(2, dtype=t.float8_e5m2); t.ones(2, dtype=t.uint4)",
    "masked": """
        t.masked.masked_tensor(x, x > 0); t.masked.MaskedTensor(x, x > 0); t.masked.as_masked_tensor(x, x > 0)
    """,
}
EACH = [(kind, line.strip()) for kind, text in CALLS.items() for line in text.replace("\n", ";").split(";")
        if line.strip()]


@pytest.mark.parametrize(("kind", "call"), EACH)
def test_one_kind_of_error_names_what_is_missing(kind, call):
    with pytest.raises(RuntimeError) as caught:
        eval(call, {"t": lazygrad, "x": x, "i": i, "np": np})
    assert type(caught.value) is lazygrad.errors.UnsupportedError
    message = str(caught.value)
    assert message.startswith("[") and kind in message and ":" in message


def test_types_can_be_named_compared_copied_and_asked():
    for m in (lazygrad, pytorch()):
        assert m.complex64.is_complex and not m.complex64.is_floating_point and m.complex64.itemsize == 8
        assert m.cfloat is m.complex64 and m.float8_e4m3fn.is_floating_point and m.qint32.itemsize == 4
        assert m.zeros(1).dtype not in (m.complex64, m.qint8) and m.zeros(1).layout == m.strided
        assert isinstance(m.strided, m.layout) and isinstance(m.channels_last, m.memory_format)
    for value in (lazygrad.complex64, lazygrad.sparse_coo, lazygrad.per_tensor_affine):
        assert copy.deepcopy(value) is value and pickle.loads(pickle.dumps(value)) is value


def test_real_tensors_answer_what_is_asked_of_complex_ones():
    for m in (lazygrad, pytorch()):
        y = m.tensor([1.0, -2.0, 0.0, -0.0, float("nan")])
        assert y.real is y and m.real(y) is y and y.conj() is y and y.resolve_conj() is y is y.resolve_neg()
        assert y.conj_physical() is y and not y.is_conj() and not y.is_neg() and not y.is_complex()
        assert m.isreal(y).tolist() == [True] * 5 and m.isreal(m.tensor([1])).tolist() == [True]
        assert y.angle()[:4].tolist() == [0.0, pytest.approx(np.pi), 0.0, 0.0] and bool(y.angle()[4].isnan())
        assert m.angle(m.tensor([-1, 2])).dtype == m.float32
        with pytest.raises(RuntimeError, match="not implemented for tensors with non-complex dtypes"):
            y.imag  # noqa: B018
        assert complex(m.tensor(2.5)) == 2.5 + 0j


def test_dense_tensors_answer_what_is_asked_of_others():
    for m in (lazygrad, pytorch()):
        y = m.ones(2, 2)
        assert y.to_dense() is y and (y.sparse_dim(), y.dense_dim()) == (0, 2)
        assert not (y.is_sparse or y.is_quantized or y.is_nested or y.is_mkldnn or y.is_sparse_csr)
        assert m.spmm(y, y).tolist() == m.sparse.mm(y, y).tolist() == [[2, 2], [2, 2]]
        assert m.dequantize(y).tolist() == y.tolist() and m.zeros(2, layout=m.strided).tolist() == [0, 0]


def test_models_made_to_be_quantized_run_as_they_are():
    stub, add = lazygrad.quantization.QuantStub(), lazygrad.nn.quantized.FloatFunctional()
    assert add.add(stub(x), x).tolist() == (x + x).tolist()
    assert add.cat([x, x], 1).shape == (3, 4) and add.add_relu(x, -2 * x).sum() == 0
