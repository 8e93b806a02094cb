"""lazygrad under the name `torch`: imports, names that are missing, whole programs, and einops."""

import itertools
import operator
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lazygrad

SOURCE = """
import sys
import torch, torch.nn as nn, torch.nn.functional as F, torch.optim.lr_scheduler
from torch import Tensor, nn as other
from torch.nn.functional import relu
from torch.nn.parameter import Parameter


def double(x: torch.Tensor) -> Tensor:
    return x * 2


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layer(x))
"""


def started(arguments, cwd, **options):
    """A finished process of Python with these arguments."""
    path = os.pathsep.join([str(Path(lazygrad.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": path}, timeout=300, **options)


def run(text, tmp_path, *arguments):
    """`python -m lazygrad run` of a program of this text."""
    (tmp_path / "program.py").write_text(text)
    return started(["-m", "lazygrad", "run", "program.py", *arguments], tmp_path)


def test_modules_types_and_checks_are_lazygrads_own(tmp_path):
    done = run(SOURCE + """
import lazygrad
assert nn is other is lazygrad.nn and relu is F.relu is lazygrad.nn.functional.relu
assert sys.modules["torch.nn.functional"] is lazygrad.nn.functional
assert lazygrad.nn.__spec__.name == "lazygrad.nn" and torch.nn.Linear is lazygrad.nn.Linear
x = torch.zeros(2, 3, dtype=torch.float32, device=torch.device("cpu"))
assert isinstance(x, torch.Tensor) and isinstance(x.shape, torch.Size) and isinstance(x.dtype, torch.dtype)
assert isinstance(Net().layer.weight, Parameter) and Net()(double(x)).shape == (2, 2)
assert str(x.dtype) == "torch.float32" and repr(x.shape) == "torch.Size([2, 3])"
assert repr(x[0].double()) == "tensor([0., 0., 0.], dtype=torch.float64)", repr(x[0].double())
assert tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 0)
from torch.autograd.gradcheck import gradgradcheck
import torch.autograd.gradcheck, torch.utils.data.distributed, torch.jit.annotations
assert callable(torch.autograd.gradcheck) and torch.ops is not lazygrad.ops
assert torch.jit.is_scripting() is False
torch.my_own = 3
assert lazygrad.my_own == 3 and "my_own" in dir(torch)
del torch.my_own
assert not hasattr(torch, "my_own")
""", tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_root_has_itself_among_its_names(tmp_path):
    code = "import torch; assert torch.torch is torch; print(torch.torch.Tensor.__name__)"
    assert started(["-m", "lazygrad", "run", "-c", code], tmp_path).stdout == "Tensor\n"


def test_missing_names_say_that_lazygrad_lacks_them(tmp_path):
    done = run("""
import torch

def message(kind, code):
    try:
        exec(code)
    except kind as error:
        assert "lazygrad" in str(error), error
        return
    raise AssertionError(code)

message(AttributeError, "torch.fooled")
message(AttributeError, "torch.nn.Fooled")
message(AttributeError, "torch.nn.functional.fooled")
message(ImportError, "from torch import fooled")
message(ImportError, "from torch.nn import Fooled")
message(ImportError, "import torch.fooled.deeper")
message(ImportError, "import torch.nn.fooled")
assert not hasattr(torch, "fooled") and getattr(torch, "fooled", 3) == 3
""", tmp_path)
    assert done.returncode == 0, done.stderr


def test_pytorch_that_was_imported_first_is_an_error(tmp_path):
    (tmp_path / "torch.py").write_text("")
    done = started(["-c", "import torch, lazygrad; lazygrad.as_torch()"], tmp_path)
    assert done.returncode == 1
    assert "TorchNameError: [as_torch] PyTorch itself was imported already, from" in done.stderr
    again = "import lazygrad; a = lazygrad.as_torch(); import torch; assert a is torch is lazygrad.as_torch()"
    assert started(["-c", again], tmp_path).returncode == 0


PROGRAMS = {
    "arguments": "import sys; print(sys.argv, __name__, __file__, sys.path[0], __spec__, __package__)",
    "exit": "import sys; sys.exit(7)",
    "exit with words": "import sys; sys.exit('no more')",
    "error": "def f():\n    raise ValueError('boo')\n\nf()\n",
    "chain": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e\n",
    "syntax": "x = (\n",
    "own hook": "import sys\nsys.excepthook = lambda t, v, tb: print(v, tb.tb_lineno)\n\nraise ValueError(3)",
    "at exit": "import atexit\natexit.register(print, 'last')\nraise ValueError(3)",
    "main again": "import __main__, pickle\nclass A: pass\nassert __main__.A is A\npickle.dumps(A())",
    "closed pipe": "raise BrokenPipeError('mine')",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_behaves_as_under_python(name, tmp_path):
    ours = run(PROGRAMS[name], tmp_path, "one", "--two")
    plain = started(["program.py", "one", "--two"], tmp_path)
    assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, plain.stderr, plain.returncode)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_ends_as_under_python(tmp_path):
    ours = run("raise KeyboardInterrupt", tmp_path)
    assert ours.returncode == started(["program.py"], tmp_path).returncode == -signal.SIGINT
    assert ours.stderr.count("File") == 1


@pytest.mark.parametrize("arguments", [["missing.py"], ["-m", "missing"], ["-m", "json"], ["-m", "mi.ssing"]])
def test_a_program_that_is_not_there_is_told_as_by_python(arguments, tmp_path):
    ours = started(["-m", "lazygrad", "run", *arguments], tmp_path)
    plain = started(arguments, tmp_path)
    assert ours.returncode == plain.returncode
    assert ours.stderr.split(": ", 1)[1] == plain.stderr.split(": ", 1)[1]


def test_modules_folders_and_text_run(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    inner = "import sys, torch; print(sys.argv[1:], __package__, __name__, torch.ones(1).item())"
    (package / "inner.py").write_text(inner)
    (package / "__main__.py").write_text("import sys; print('main', sys.argv[1:])")
    for given in (["-m", "pack.inner", "a"], ["-m", "pack", "b"], ["pack", "c"],
                  ["-c", "import torch; print(5)"]):
        done = started(["-m", "lazygrad", "run", *given], tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout in ("['a'] pack __main__ 1.0\n", "main ['b']\n", "main ['c']\n", "5\n")
    assert started(["-m", "lazygrad", "run"], tmp_path).returncode == 2


def check_einops(einops, module):
    """Functions of einops against the same written with the tensors' own methods."""
    x = module.arange(24.0).reshape(2, 3, 4).requires_grad_()
    assert einops.rearrange(x, "a b c -> c (a b)").tolist() == x.permute(2, 0, 1).reshape(4, 6).tolist()
    for reduction in ("max", "min", "sum", "mean", "prod"):
        got = einops.reduce(x, "a b (c two) -> b c", reduction, two=2)
        parts = x.reshape(2, 3, 2, 2)
        for axis in (3, 0):
            parts = getattr(parts, {"max": "amax", "min": "amin"}.get(reduction, reduction))(dim=axis)
        assert got.shape == (3, 2) and (got - parts).abs().max().item() < 1e-3 * parts.abs().max().item()
    assert einops.repeat(x, "a b c -> a b (n c)", n=2).tolist() == module.cat([x, x], -1).tolist()
    packed, sizes = einops.pack([x, x[:, 0]], "a * c")
    assert packed.shape == (2, 4, 4) and einops.unpack(packed, sizes, "a * c")[1].tolist() == x[:, 0].tolist()
    assert einops.einsum(x, x, "a b c, a d c -> a b d").tolist() == (x @ x.mT).tolist()
    assert einops.rearrange([x, x], "n a b c -> a (n b) c").shape == (2, 6, 4)
    assert einops.asnumpy(x).shape == (2, 3, 4)
    einops.reduce(x, "a b c -> a", "sum").sum().backward()
    assert (x.grad == 1).all()


def test_einops_works_on_tensors():
    check_einops(pytest.importorskip("einops"), lazygrad)


@pytest.mark.parametrize("first", ["import einops, lazygrad", "import lazygrad, einops"])
def test_einops_may_be_imported_first_or_last(first, tmp_path):
    pytest.importorskip("einops")
    code = f"{first}; print(einops.rearrange(lazygrad.zeros(2, 3), 'a b -> b a').shape)"
    assert started(["-c", code], tmp_path).stdout == "lazygrad.Size([3, 2])\n"


def test_einops_and_its_layers_work_under_the_name_of_torch(tmp_path):
    pytest.importorskip("einops")
    here = str(Path(__file__).parent)
    done = run(f"import sys; sys.path.append({here!r})\nimport torch, einops\n" + """
from einops.layers.torch import EinMix, Rearrange, Reduce
from test_as_torch import check_einops
check_einops(einops, torch)
model = torch.nn.Sequential(Rearrange("b c h w -> b (h w) c"), Reduce("b n c -> b c", "mean"),
                            EinMix("b c -> b d", weight_shape="c d", bias_shape="d", c=3, d=5))
y = model(torch.randn(2, 3, 4, 4))
y.sum().backward()
assert y.shape == (2, 5) and model[2].weight.grad.shape == (3, 5)
""", tmp_path)
    assert done.returncode == 0, done.stderr


TRAINING = """
import argparse, torch, torch.nn as nn, torch.nn.functional as F
import torch.backends.cudnn as cudnn
from torch.cuda.amp import GradScaler
from torch.optim.lr_scheduler import StepLR
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset, random_split


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s * (1 + x * (1 - s)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = Swish.apply(self.a(x))
        return self.c(checkpoint(lambda t: F.relu(self.b(t)), x, use_reentrant=False))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()
    torch.manual_seed(0)
    cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(256, 8)
    y = (x.sum(1) > 0).long() + (x[:, 0] > 1).long()
    train, held_out = random_split(TensorDataset(x, y), [0.75, 0.25])
    loader = DataLoader(train, batch_size=32, shuffle=True, num_workers=1, pin_memory=True, drop_last=True)
    model = torch.compile(Net().to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = StepLR(optimizer, 1, 0.9)
    losses = []
    for epoch in range(args.epochs):
        total = 0.0
        for inputs, classes in loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(inputs.to(device, non_blocking=True)), classes.to(device))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        schedule.step()
        losses.append(total)
    with torch.inference_mode():
        right = sum((model(a).argmax(1) == b).sum().item() for a, b in DataLoader(held_out, 64))
    torch.save({"model": model.state_dict()}, "weights.pt")
    model.load_state_dict(torch.load("weights.pt", map_location="cpu")["model"])
    assert losses[-1] < 0.7 * losses[0] and right / len(held_out) > 0.7, (losses, right)
    print("trained")


if __name__ == "__main__":
    main()
"""


def test_a_training_program_runs_unedited(tmp_path):
    done = run(TRAINING, tmp_path, "--epochs", "3")
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr


WITH_PROCESSES = """
import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return torch.nn.functional.relu(torch.tensor(float(i - 2)))


def work(rank, queue):
    queue.put((rank, torch.nn.Linear(2, 1)(torch.ones(3, 2)).shape[0], torch.version.__name__))


if __name__ == "__main__":
    for method in mp.get_all_start_methods():
        batches = DataLoader(Numbers(), batch_size=2, num_workers=1, multiprocessing_context=method)
        assert [b.tolist() for b in batches] == [[0.0, 0.0], [0.0, 1.0]], method
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(work, args=(queue,), nprocs=2)
    print(sorted(queue.get() for _ in range(2)))
"""


def test_processes_that_a_program_starts_know_the_name(tmp_path):
    done = run(WITH_PROCESSES, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[(0, 3, 'lazygrad.version'), (1, 3, 'lazygrad.version')]\n"


def test_classes_say_that_they_are_of_torch(tmp_path):
    """Programs ask `type(x).__module__` whose tensors they have: opt_einsum and autoray choose so."""
    done = run(SOURCE + """
import copy, inspect, pickle, typing
x = torch.zeros(2)
assert type(x).__module__ == "torch" and repr(torch.Tensor) == "<class 'torch.Tensor'>"
assert repr(torch.dtype) == "<class 'torch.dtype'>" and repr(torch.Size) == "<class 'torch.Size'>"
assert repr(nn.Conv2d) == "<class 'torch.nn.modules.conv.Conv2d'>"
assert torch.optim.AdamW.__module__ == "torch.optim.adamw" and Net.__module__ == "__main__"
assert typing.get_type_hints(double)["x"] is torch.Tensor
for thing in (x, nn.Linear(2, 2), Net(), torch.float32, x.shape, Parameter(x)):
    assert type(pickle.loads(pickle.dumps(thing))) is type(copy.deepcopy(thing)) is type(thing)
step = torch.jit.script(lambda y: nn.functional.relu(y))
import lazygrad
net = Net()
replayed = lazygrad.jit(lambda y: net(y))
assert [replayed(torch.ones(1, 3)).shape for _ in range(3)] == [(1, 2)] * 3
""", tmp_path)
    assert done.returncode == 0, done.stderr


def test_versions_compare_as_versions_and_packages_find_torch(tmp_path):
    done = run("""
import importlib.metadata, importlib.util, torch
found = torch.__version__
assert found >= "2.9" and found >= (2, 0) and not found < (2, 2, 1) and (2, 0) < found and "1.13" < found
assert importlib.metadata.version("torch") == str(found) == torch.version.__version__
assert "torch" in {each.metadata["Name"] for each in importlib.metadata.distributions()}
assert importlib.util.find_spec("torch.nn.functional") is not None
assert importlib.util.find_spec("torch.no_such_module") is None
try:
    import torch.no_such_module
except ModuleNotFoundError as error:
    assert "lazygrad" in str(error)
else:
    raise AssertionError
""", tmp_path)
    assert done.returncode == 0, done.stderr


def test_versions_are_ordered_as_packaging_orders_them():
    version = pytest.importorskip("packaging.version")
    texts = ["1.0", "1.0.0", "1.0a1", "1.0.dev3", "1.0b2", "1.0rc1", "1.0.post1", "1.0.post1.dev2",
             "1.0a1.dev1", "1.0+cpu", "1.0+a.1", "1.0+a.10", "1.10", "1.9", "2!0.1", "1.0-1", "v1.0", "1.0c1",
             "1.0.dev0+x"]
    for first, second in itertools.product(texts, texts):
        for compare in (operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge):
            ours = compare(lazygrad.version.TorchVersion(first), second)
            assert ours == compare(version.Version(first), version.Version(second)), (first, second)
    assert lazygrad.version.TorchVersion("parrot") == "parrot" != lazygrad.version.TorchVersion("1.0")
