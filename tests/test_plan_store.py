"""Plans on disk: found by other processes, and only where they fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lazygrad import config, engine
from lazygrad.engine import plan_store

ROOT = Path(__file__).parent.parent
PROGRAM = """
import lazygrad as lg
from lazygrad import nn, optim
lg.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = optim.Adam(model.parameters(), 0.1)
x = lg.randn(6, 4).realize()
for _ in range(3):
    optimizer.zero_grad()
    loss = model(x[:4]).square().mean()
    loss.backward()
    optimizer.step()
    print(loss.item())
print(lg.jit(lambda x: x.sort(0).values.cumsum(0))(x).tolist())
"""


def run(folder, device, **settings):
    """What a process prints, and what it says of its plans."""
    environment = {**os.environ, "CACHE_DIR": str(folder), "DEVICE": device, "DEBUG": "1", **settings}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment,
                          cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "kernel" in line]


def test_a_second_process_makes_no_plan(tmp_path, compiling_device):
    values, first = run(tmp_path, compiling_device)
    assert any("planned in" in line for line in first)
    again, second = run(tmp_path, compiling_device)
    assert again == values
    assert second and all("plan from disk" in line or "plan from the cache" in line for line in second)


def test_damaged_and_foreign_plans_are_made_anew(tmp_path):
    values, _ = run(tmp_path, "CPU")
    files = [path for path in (tmp_path / "plan").rglob("*") if path.is_file()]
    assert files
    for number, path in enumerate(files):
        content = path.read_bytes()
        path.write_bytes((content[:-9], b"", content[:40] + b"!" + content[41:])[number % 3])
    again, second = run(tmp_path, "CPU")
    assert again == values
    assert not any("plan from disk" in line for line in second)
    third, lines = run(tmp_path, "CPU")
    assert third == values and not any("planned in" in line for line in lines)


def test_other_settings_have_other_plans(tmp_path):
    values, _ = run(tmp_path, "CPU")
    for settings in ({"NOOPT": "1"}, {"THREADS": "1"}):
        _, lines = run(tmp_path, "CPU", **settings)
        assert not any("plan from disk" in line for line in lines)
    assert run(tmp_path, "CPU", DEBUG="3")[0] == values


@pytest.mark.parametrize("payload", [b"", b"not a pickle", b"\x80\x05K\x01.", b"\x80\x05]."])
def test_whole_files_that_hold_no_plan_are_absent(tmp_path, payload):
    from lazygrad.runtime import cache
    from lazygrad.runtime.cpu import cpu_device

    with config.override(CACHE_DIR=str(tmp_path)):
        cache.write("plan", plan_store._name("structure", cpu_device()), payload)
        assert plan_store.read_plan("structure", cpu_device()) is None


def test_names_do_not_depend_on_the_process():
    code = ("from lazygrad.engine import plan_store; from lazygrad.runtime.cpu import cpu_device;"
            "print(plan_store._name(('a', 1, (2.0,)), cpu_device()))")
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                            env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}
    assert len(found) == 1 and len(found.pop()) == 65
    assert engine.read_plan
