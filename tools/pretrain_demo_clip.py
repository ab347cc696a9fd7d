"""Train the small CLIP in peclip/demo/clip on synthetic still faces and captions of their action units.

    python tools/pretrain_demo_clip.py --out peclip/demo/clip

Pairs are random combinations of action units, never expressions: no class, no class text and no emotion name is used,
and the people are others than those of the demo clips. It drew 40,000 stills and took 36 minutes on one busy CPU core.
Of 1,000 people never seen, 97.5 % of the single units were right in the end, and 79.2 % of the captions among 100.
"""

import argparse
import json
import math
import multiprocessing
import random
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from peclip.demo import acting
from peclip.demo.face import ActionUnits, Artist, Pose, random_scene
from peclip.demo.tasks import PRETRAINING_PEOPLE, person

SIZE, PATCH, WIDTH = 96, 16, 192
CONTEXT = 77
UNSEEN = 1_000
"""Stills kept out of the training, to measure it by."""
START, END = "<|startoftext|>", "<|endoftext|>"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
RESTING = ("Relaxed Muscles", "Even Eyebrows", "Closed Lips", "Calm Eyes", "Smooth Forehead")
PHRASES = ("{}", "{}", "a face with {}", "a drawing of {}", "action units: {}")

Still = tuple[np.ndarray, tuple[str, ...]]


def still(number: int) -> Still:
    """Draw person ``number`` with random action units; return the picture and the names of the units shown.

    How difficult it is differs: from a head straight ahead with strong action units to what the clips are like.
    """
    rng = np.random.default_rng((number, 2))
    difficulty = rng.uniform()
    count = 0 if rng.random() < 0.12 else rng.integers(1, 8)
    shown = tuple(str(name) for name in rng.choice(acting.UNITS, count, replace=False))
    strength = {name: difficulty * rng.uniform(0.0, 0.12) for name in acting.UNITS}
    strength.update({name: rng.uniform(0.7 - 0.3 * difficulty, 1.0) for name in shown})
    ahead, turned = asdict(Pose()), asdict(acting.movement(rng, 32)[rng.integers(32)])
    pose = Pose(**{name: ahead[name] + difficulty * (turned[name] - ahead[name]) for name in ahead})
    picture = Artist(person(number), random_scene(rng), SIZE).draw(pose, ActionUnits(**strength))
    return picture, shown


def caption(shown: tuple[str, ...], rng: random.Random) -> str:
    """Say which action units are shown, in one of many ways; a face at rest is described by what it does not do."""
    if shown:
        names = [name.replace("_", " ").title() for name in shown]
    else:
        names = rng.sample(RESTING, rng.randint(2, len(RESTING)))
    rng.shuffle(names)
    comma = ", ".join(names)
    style = rng.random()
    if style < 0.6:
        return f"{comma}."
    if style < 0.8 and len(names) > 1:
        return rng.choice(PHRASES).format(", ".join(names[:-1]) + " and " + names[-1])
    return rng.choice(PHRASES).format(comma)


def train_tokenizer(captions: list[str], folder: Path) -> CLIPTokenizer:
    """Train a byte-pair vocabulary as CLIP's: lower case, words end in ``</w>``; every ASCII sign is a word too."""
    bpe = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    blank = CLIPTokenizer()
    bpe.normalizer, bpe.pre_tokenizer = blank.backend_tokenizer.normalizer, blank.backend_tokenizer.pre_tokenizer
    signs = [chr(code) for code in range(33, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=510, end_of_word_suffix="</w>", initial_alphabet=signs, show_progress=False
    )
    bpe.train_from_iterator(captions + signs, trainer)
    table = json.loads(bpe.to_str())["model"]
    # As in CLIP's own vocabulary, end-of-text is the largest number.
    for token in (START, END):
        table["vocab"][token] = len(table["vocab"])
    tokenizer = CLIPTokenizer(
        vocab=table["vocab"], merges=[tuple(pair) for pair in table["merges"]], model_max_length=CONTEXT
    )
    tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def build(tokenizer: CLIPTokenizer, pictures: Tensor) -> CLIPModel:
    """The model: 96-pixel pictures in 36 patches; it starts from what patches look like and where they are.

    Args:
        tokenizer: gives the vocabulary.
        pictures: uint8 (N, H, W, 3), a few thousand at most, from which the patch embedding is worked out.
    """
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "projection_dim": 128,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "image_size": SIZE,
        "patch_size": PATCH,
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "projection_dim": 128,
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=128)
    # The fused attention's backward is ten times slower in bfloat16 on a CPU.
    model = CLIPModel._from_config(config, attn_implementation="eager")
    entrance = model.vision_model.embeddings
    with torch.no_grad():
        entrance.patch_embedding.weight.copy_(whitened_patches(pictures))
        entrance.position_embedding.weight[1:] = grid_positions()
    return model


def whitened_patches(pictures: Tensor) -> Tensor:
    """Filters (WIDTH, 3, PATCH, PATCH): principal components of patches at equal strength.

    Synthetic faces are mostly flat colour, of which random filters see most; whitened ones see edges from the start.
    """
    pixels = F.unfold(normalised(pictures), PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 3 * PATCH**2)
    pixels = pixels - pixels.mean(0)
    strength, components = torch.linalg.eigh(pixels.T @ pixels / len(pixels))
    strength, components = strength.flip(0)[:WIDTH], components.flip(1)[:, :WIDTH]
    return (components / (strength + 0.02).sqrt()).T.reshape(WIDTH, 3, PATCH, PATCH)


def grid_positions() -> Tensor:
    """Sines and cosines of row and column, (patches, WIDTH)."""
    rows, columns = torch.meshgrid(*[torch.arange(SIZE // PATCH)] * 2, indexing="ij")
    waves = 20 ** (-torch.arange(WIDTH // 4) / (WIDTH // 4))
    angles = [place.reshape(-1, 1) * waves for place in (rows, columns)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)


def normalised(pictures: Tensor) -> Tensor:
    """Pictures, uint8 (B, H, W, 3), as floats (B, 3, H, W) with CLIP's mean and deviation."""
    return (pictures.permute(0, 3, 1, 2).float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
        3, 1, 1
    )


def varied(pictures: Tensor) -> Tensor:
    """Pictures normalised, half of them flipped, all of them a little brighter or darker."""
    x = normalised(pictures)
    flip = torch.rand(len(x)) < 0.5
    x[flip] = x[flip].flip(3)
    return x * torch.empty(len(x), 1, 1, 1).uniform_(0.9, 1.1)


def embed_pictures(model: CLIPModel, pictures: Tensor) -> Tensor:
    """Normalised features of pictures, (B, 3, H, W) -> (B, D)."""
    return F.normalize(model.get_image_features(pixel_values=pictures).pooler_output, dim=-1)


def embed_texts(model: CLIPModel, texts: dict[str, Tensor]) -> Tensor:
    """Normalised features of tokenised texts, (N, D)."""
    return F.normalize(model.get_text_features(**texts).pooler_output, dim=-1)


class Words:
    """The names of single action units, tokenised, and which of them are true of a still."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        names = [name.replace("_", " ").title() for name in acting.UNITS]
        self.tokens = tokenizer([f"{name}." for name in (*names, *RESTING)], padding=True, return_tensors="pt")

    @staticmethod
    def true(stills: list[Still]) -> Tensor:
        """1 where the name is true of the still, float (N, names): a face without any unit is at rest."""
        return torch.tensor(
            [[float(unit in shown) for unit in acting.UNITS] + [float(not shown)] * len(RESTING) for _, shown in stills]
        )


def train(
    model: CLIPModel, tokenizer: CLIPTokenizer, bank: list[Still], steps: int, batch: int, lr: float, seed: int
) -> Tensor:
    """Pull each picture to the texts that are true of it and away from those that are not.

    Two contrasts: with the name of every single action unit, by a sigmoid as in SigLIP
    (https://arxiv.org/abs/2303.15343), and from a third of the training on with the captions of the batch, as in CLIP.

    Returns:
        The bias of the sigmoid contrast: a name is taken for true above it.
    """
    pictures, true = torch.from_numpy(np.stack([picture for picture, _ in bank])), Words.true(bank)
    rng, target, words = random.Random(seed), torch.arange(batch), Words(tokenizer)
    bias = nn.Parameter(torch.tensor(-1.0))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [*(p for p in model.parameters() if p.ndim <= 1), bias]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 50, 1.0) * (1 - step / steps))
    begin, seen = time.perf_counter(), []
    for step in range(steps):
        index = torch.randint(len(bank), (batch,))
        matched = 0.0
        with torch.autocast("cpu", torch.bfloat16):
            images, scale = embed_pictures(model, varied(pictures[index])), model.logit_scale.exp()
            units = scale * images @ embed_texts(model, words.tokens).T + bias
            loss = 4 * F.binary_cross_entropy_with_logits(units, true[index])
            if step >= steps // 3:
                captions = tokenizer(
                    [caption(bank[i][1], rng) for i in index.tolist()], padding=True, return_tensors="pt"
                )
                pairs = scale * images @ embed_texts(model, captions).T
                loss = loss + (F.cross_entropy(pairs, target) + F.cross_entropy(pairs.T, target)) / 2
                matched = (pairs.argmax(1) == target).float().mean().item()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        model.logit_scale.data.clamp_(max=math.log(100))
        seen.append((loss.item(), ((units > 0) == (true[index] > 0)).float().mean().item(), matched))
        if (step + 1) % 100 == 0:
            means = "loss {:.3f}  units right {:.3f}  captions matched {:.3f}".format(*np.mean(seen[-100:], 0))
            print(f"step {step + 1}/{steps}  {means}  {time.perf_counter() - begin:.0f} s", flush=True)
    return bias.detach()


@torch.no_grad()
def evaluate(model: CLIPModel, tokenizer: CLIPTokenizer, bank: list[Still], bias: Tensor, seed: int) -> None:
    """Print the accuracy on people who were not trained on: single units, and captions among 100."""
    rng, words = random.Random(seed), Words(tokenizer)
    pictures = embed_pictures(model, normalised(torch.from_numpy(np.stack([picture for picture, _ in bank]))))
    units = model.logit_scale.exp() * pictures @ embed_texts(model, words.tokens).T + bias
    captions = tokenizer([caption(shown, rng) for _, shown in bank], padding=True, return_tensors="pt")
    texts = embed_texts(model, captions)
    hundreds = [image @ text.T for image, text in zip(pictures.split(100), texts.split(100), strict=True)]
    matched = torch.cat([part.argmax(1) == torch.arange(len(part)) for part in hundreds]).float().mean()
    right = ((units > 0) == (Words.true(bank) > 0)).float().mean()
    print(f"of {len(bank)} people never seen: units right {right:.3f}  captions matched {matched:.3f}")


def save(model: CLIPModel, folder: Path) -> None:
    """Write config, preprocessor and half-precision weights as ``from_pretrained`` reads them."""
    model = model.half().eval()
    model.config.architectures = ["CLIPModel"]
    model.config.dtype = torch.float16
    model.config.save_pretrained(folder)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    processor.save_pretrained(folder)


def main() -> None:
    """Generate the stills, train the model, and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--stills", type=int, default=40_000, help="number of pictures to generate")
    parser.add_argument("--steps", type=int, default=5_000, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=128, help="pictures per step")
    parser.add_argument("--lr", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, sampling and captions")
    # Layers are so small that a second thread mostly waits.
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the training")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool() as pool:
        bank = pool.map(still, PRETRAINING_PEOPLE[: options.stills + UNSEEN], chunksize=500)
    bank, unseen = bank[:-UNSEEN], bank[-UNSEEN:]
    print(f"{len(bank)} stills generated in {time.perf_counter() - begin:.0f} s", flush=True)
    rng = random.Random(options.seed)
    tokenizer = train_tokenizer([caption(shown, rng) for _, shown in bank[:20_000]], options.out)
    model = build(tokenizer, torch.from_numpy(np.stack([picture for picture, _ in bank[:2_000]])))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    bias = train(model, tokenizer, bank, options.steps, options.batch, options.lr, options.seed)
    evaluate(model.eval(), tokenizer, unseen, bias, options.seed)
    save(model, options.out)


if __name__ == "__main__":
    main()
