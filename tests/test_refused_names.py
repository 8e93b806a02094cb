"""Names that lazygrad lacks and that programs import: each is PyTorch's, exists, and says what to do."""

import importlib
import warnings

import pytest
from torch_support import pytorch

import lazygrad
from lazygrad.errors import UnsupportedError
from lazygrad.inert.refused import _NAMES
from lazygrad.torch_name import our_name

EACH = sorted({(module, name) for modules in _NAMES.values() for module, names in modules.items()
               for name in names.split()})


def test_each_exists_and_refuses():
    for module, name in EACH:
        found = getattr(importlib.import_module(f"lazygrad.{module}".rstrip(".")), name)
        assert callable(found) and len(found.instead) > 40, (module, name)
        with pytest.raises(UnsupportedError, match=rf"^\[.*{name}\] "):
            found(1, 2)


def test_each_is_pytorchs():
    pytorch()
    missing = []
    for module, name in EACH:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = importlib.import_module(f"torch.{module}".rstrip("."))
            if not hasattr(theirs, name):
                missing.append(f"{module}.{name}")
    assert len(missing) < 30, missing  # some modules name in __all__ what they have not


@pytest.mark.parametrize("path", """
    torch.fx.passes.shape_prop torch.fx.interpreter torch.export.dynamic_shapes torch.onnx.utils
    torch.ao.pruning torch.ao.quantization.quantize_fx torch.package torch.futures torch.monitor
    torch._ops torch.cuda.tunable torch.mps.profiler torch.xpu torch.mtia
    torch.backends.nnpack torch.profiler.itt torch.utils.serialization.config
    torch.nn.attention.varlen torch.sparse.semi_structured
""".split())
def test_modules_are_imported(path):
    module = importlib.import_module(our_name(path))
    with pytest.raises(AttributeError, match=f"lazygrad lacks {path}.surely_not"):
        module.surely_not  # noqa: B018


def test_what_can_be_ignored_is_accepted():
    assert lazygrad.cuda.get_allocator_backend() == "native" and lazygrad.thread_safe_generator() is None
    with lazygrad.fx.traceback.annotate({"a": 1}), lazygrad.xpu.device(0), lazygrad.cuda.use_mem_pool(None):
        lazygrad.compiler.config.dynamic_shapes = False
    assert lazygrad.overrides.is_tensor_method_or_property(lazygrad.Tensor.add)
    state = lazygrad.xpu.get_rng_state()
    a = lazygrad.rand(3).tolist()
    lazygrad.mps.set_rng_state(state)
    assert lazygrad.rand(3).tolist() == a
    before = lazygrad.get_autocast_cpu_dtype()
    lazygrad.set_autocast_cpu_dtype(lazygrad.float16)
    lazygrad.set_autocast_cpu_enabled(True)
    try:
        assert lazygrad.get_autocast_dtype("cpu") is lazygrad.float16 and lazygrad.is_autocast_cpu_enabled()
    finally:
        lazygrad.set_autocast_cpu_enabled(False)
        lazygrad.set_autocast_cpu_dtype(before)
