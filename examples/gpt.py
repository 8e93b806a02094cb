"""Train a small GPT on Shakespeare, character by character, save its weights, and let it write.

    python examples/gpt.py                              # 2,000 steps, then 500 characters
    DEVICE=CL python examples/gpt.py                    # on a GPU, or on PoCL
    python examples/gpt.py --load results/gpt.safetensors --prompt "ROMEO:" --characters 1000
    python examples/gpt.py --text my.txt                # any other text
    python examples/gpt.py --short

Sizes and settings are those of nanoGPT's example for a CPU, which says that it reaches 1.88; here held-out
text was at 1.8824 after 2,000 steps. A step took 65 ms of one core (PyTorch 2.13: 85 ms); the whole run 15
minutes of two cores that ten other programs shared.
"""

import argparse
import time
from pathlib import Path

from tqdm import tqdm

import lazygrad as torch
import lazygrad.nn as nn
import lazygrad.nn.functional as F
import lazygrad.optim as optim
from lazygrad.safetensors import load_model, save_model

TEXT = Path(__file__).parent / "data" / "tiny_shakespeare.txt"


class Block(nn.Module):
    """Each place looks at itself and those before it, then thinks for itself: (n, length, width) to the
    same."""

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        n, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.out(seen.transpose(1, 2).reshape(n, length, width)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class GPT(nn.Module):
    """Tokens (n, length) to the logits of what comes next at every place, (n, length, words)."""

    def __init__(self, words, length, layers, heads, width, dropout):
        super().__init__()
        self.token = nn.Embedding(words, width)
        self.place = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:  # what adds to the residual stream starts smaller, as in GPT-2
                small = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(p, std=0.02 / (2 * layers) ** 0.5 if small else 0.02)
        self.head.weight = self.token.weight

    def forward(self, tokens):
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def windows(data, count, length):
    """Random pieces of the text and the same pieces one character later, both (count, length)."""
    at = torch.randint(len(data) - length, (count, 1)) + torch.arange(length)
    return data[at], data[at + 1]


def loss_of(model, x, y):
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def make_optimizer(model, options):
    """AdamW that lets only matrices decay, and its schedule: up for a while, then down along a cosine."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.99))
    warm = max(1, options.steps // 20)
    up = optim.lr_scheduler.LinearLR(optimizer, 1 / warm, total_iters=warm)
    down = optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps - warm, eta_min=options.lr / 10)
    return optimizer, optim.lr_scheduler.SequentialLR(optimizer, [up, down], [warm])


def train(model, data, held_out, options):
    """Train for the steps of the options, and return the losses on held-out text, first to last."""
    optimizer, schedule = make_optimizer(model, options)

    @torch.jit
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    def held_out_loss():
        model.eval()
        with torch.no_grad():
            found = sum(loss_of(model, x, y).item() for x, y in checks) / len(checks)
        model.train()
        return found

    checks = [windows(held_out, 4 * options.batch_size, model.place.num_embeddings) for _ in range(10)]
    found = []
    for i in (progress := tqdm(range(options.steps + 1), desc="training", leave=False)):
        if i % options.check_every == 0 or i == options.steps:
            found.append(held_out_loss())
            progress.write(f"step {i}: loss on held-out text {found[-1]:.4f}")
        if i < options.steps:
            loss = step(*windows(data, options.batch_size, model.place.num_embeddings)).item()
            schedule.step()
            progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
    return found


def write(model, tokens, count, temperature):
    """`count` tokens that the model adds to a list of tokens, one at a time."""
    length = model.place.num_embeddings
    model.eval()

    @torch.jit
    def next_token(window, last):
        with torch.no_grad():
            logits = model(window)[0].index_select(0, last)
            return torch.multinomial(F.softmax(logits / temperature, -1), 1)

    tokens = list(tokens)
    for _ in tqdm(range(count), desc="writing", leave=False):
        # always a whole window, so that one recording serves; no place sees the zeros that follow it
        seen = tokens[-length:]
        window = torch.tensor([seen + [0] * (length - len(seen))])
        tokens.append(next_token(window, torch.tensor([len(seen) - 1])).item())
    return tokens[-count:] if count else []


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", type=Path, default=TEXT, help="what to learn from, in UTF-8")
    parser.add_argument("--steps", type=int, help="training steps (2000, or 40 with --short)")
    parser.add_argument("--check-every", type=int, default=250, help="steps between looks at held-out text")
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--length", type=int, default=64, help="characters that the model sees at once")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of AdamW at its highest")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--save", type=Path, default=Path("results/gpt.safetensors"))
    parser.add_argument("--load", type=Path, help="weights that were saved: nothing is trained")
    parser.add_argument("--prompt", default="\n", help="what the model goes on from")
    parser.add_argument("--characters", type=int, help="how many it writes (500, or 60 with --short)")
    parser.add_argument("--temperature", type=float, default=0.8, help="how daring it is")
    parser.add_argument("--short", action="store_true", help="a smaller model and few steps")
    options = parser.parse_args(arguments)
    if options.short:
        options.layers, options.width, options.length = 2, 64, 32
    if options.steps is None:
        options.steps = 40 if options.short else 2000
    if options.characters is None:
        options.characters = 60 if options.short else 500
    if not options.text.exists():
        parser.error(f"there is no file {options.text}")

    torch.manual_seed(options.seed)
    text = options.text.read_text()
    alphabet = sorted(set(text))
    number = {character: i for i, character in enumerate(alphabet)}
    if unknown := set(options.prompt) - set(alphabet):
        parser.error(f"the text has none of the characters {sorted(unknown)} of the prompt")
    data = torch.tensor([number[character] for character in text])
    cut = int(0.9 * len(data))

    model = GPT(
        len(alphabet), options.length, options.layers, options.heads, options.width, options.dropout
    )
    found = []
    if options.load:
        load_model(model, options.load)
    else:
        parameters = sum(p.numel() for p in model.parameters())
        print(f"{len(text)} characters of {len(alphabet)} kinds; {parameters} parameters on {data.device}")
        began = time.perf_counter()
        found = train(model, data[:cut], data[cut:], options)
        print(f"{options.steps} steps in {time.perf_counter() - began:.1f} s")
        options.save.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, options.save)
        print(f"weights: {options.save}")
    written = write(model, [number[c] for c in options.prompt], options.characters, options.temperature)
    print(options.prompt + "".join(alphabet[i] for i in written))
    return found


if __name__ == "__main__":
    main()
