"""What code generation hands to a runtime: Source (text and signature),
and Target (a device's facts) the other way."""

from dataclasses import dataclass, field

from lazygrad.dtypes import DType


@dataclass(frozen=True)
class Target:
    """The facts of a device that recipes and renderers depend on; part of every cache key.

    Sizes are bytes. `vector_bytes` is the width of a vector register, `registers` their number,
    `threads` the number of workers (CPU) or compute units (GPU).
    """

    name: str  # "CPU", "CL"
    language: str  # "llvm" or "opencl"
    cpu: str = ""  # LLVM's processor name, or the OpenCL device's name and driver version
    features: str = ""  # LLVM's feature string, or the device's OpenCL extensions that matter
    triple: str = ""
    vector_bytes: int = 16
    registers: int = 16
    l1_bytes: int = 32 << 10
    l2_bytes: int = 512 << 10
    threads: int = 1
    dtypes: frozenset[str] = frozenset()  # dtype names that the device can compute with or store
    max_parameters: int = 1 << 20  # buffers that one kernel may take
    parts: bool = False  # whether a kernel takes a buffer that begins anywhere inside a larger one
    max_group_items: int = 1  # work-items in a work-group
    local_bytes: int = 0  # __local memory of a work-group

    @property
    def masks(self) -> bool:
        """Whether reading some lanes of a vector costs a processor as little as reading all."""
        return "+avx512f" in self.features.split(",")

    @property
    def ops_per_byte(self) -> float:
        """Arithmetic operations on float32 that take about as long as one byte from memory.

        Two cores with 512-bit vectors did 116e9 operations, of which generated code reaches about half, and
        34e9 bytes a second.
        """
        return 4.0 if "gpu" in self.features.split() else self.vector_bytes / 32


@dataclass(frozen=True)
class BufferUse:
    """One buffer parameter of a kernel, in call order. `size` counts elements."""

    name: str
    dtype: DType
    size: int
    access: str  # "read", "write" or "readwrite"


@dataclass(frozen=True)
class Phase:
    """One parallel loop of a kernel; phases of a kernel run in order with a barrier between.

    CPU: the function `void name(ptr buffers, i64 begin, i64 end, ptr scratch)` runs iterations [begin, end)
    of
    `count`; the pool hands out chunks of about `grain` iterations; `buffers` points to an array of pointers.
    OpenCL: the kernel `name(buffer 0, buffer 1, ...)` runs as `count` work-groups of `items` work-items, one
    dimension.
    """

    name: str
    count: int
    grain: int = 1
    items: int = 1


@dataclass(frozen=True)
class Source:
    """A kernel as text. Its buffers are `uses`, then one uninitialised buffer per entry of `temporaries`
    (bytes)."""

    language: str  # "llvm" or "opencl"
    name: str  # tells what it computes: matmul_bias_gelu_512x3072x768
    text: str
    uses: tuple[BufferUse, ...]
    phases: tuple[Phase, ...]
    temporaries: tuple[int, ...] = ()
    scratch: int = 0  # bytes of private scratch per worker (CPU), 64-byte aligned
    flops: int = field(default=0, compare=False)
    bytes_moved: int = field(default=0, compare=False)
