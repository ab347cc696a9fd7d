"""Trains the small CLIP in peclip/assets/demo_clip on drawn still faces and captions of their action units.

    python tools/pretrain_demo_clip.py --out peclip/assets/demo_clip

Pairs are random combinations of action units, never expressions: no class, no class text and no emotion name is used,
and the people are others than those of the demo clips. Takes about half an hour on two CPU cores.
"""

import argparse
import json
import multiprocessing
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, trainers
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from peclip.data import acting
from peclip.data.drawn_face import ActionUnits, Artist, random_scene
from peclip.data.synthetic import PRETRAINING_PEOPLE, person

SIZE = 96
CONTEXT = 77
START, END = "<|startoftext|>", "<|endoftext|>"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
RESTING = ("Relaxed Muscles", "Even Eyebrows", "Closed Lips", "Calm Eyes", "Smooth Forehead")
PHRASES = ("{}", "{}", "a face with {}", "a drawing of {}", "action units: {}")


def still(number: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Draw person ``number`` with random action units; return the picture and the names of the units shown."""
    rng = np.random.default_rng((number, 2))
    count = 0 if rng.random() < 0.12 else rng.integers(1, 8)
    shown = tuple(str(name) for name in rng.choice(acting.UNITS, count, replace=False))
    strength = {name: rng.uniform(0.0, 0.12) for name in acting.UNITS}
    strength.update({name: rng.uniform(0.4, 1.0) for name in shown})
    pose = acting.movement(rng, 16)[rng.integers(16)]
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


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """The model: 3.4 million parameters, 96-pixel pictures in 36 patches."""
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
        "patch_size": 16,
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 5,
        "num_attention_heads": 6,
        "projection_dim": 128,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def varied(pictures: Tensor) -> Tensor:
    """Pictures, uint8 (B, H, W, 3), as normalised floats (B, 3, H, W): flipped by half, shifted, brighter or darker."""
    x = pictures.permute(0, 3, 1, 2).float().div_(255)
    flip = torch.rand(len(x)) < 0.5
    x[flip] = x[flip].flip(3)
    x = torch.roll(x, torch.randint(-4, 5, (2,)).tolist(), (2, 3))
    x = x * torch.empty(len(x), 1, 1, 1).uniform_(0.85, 1.15)
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def train(model: CLIPModel, tokenizer: CLIPTokenizer, bank: list, epochs: int, batch: int, seed: int) -> None:
    """Pull each picture to its caption and away from the others of the batch, symmetrically."""
    pictures = torch.from_numpy(np.stack([picture for picture, _ in bank]))
    rng, steps = random.Random(seed), epochs * (len(bank) // batch)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps, pct_start=0.08)
    model.train()
    begin = time.perf_counter()
    for epoch in range(epochs):
        hits, total = 0, 0.0
        order = torch.randperm(len(bank))[: len(bank) // batch * batch].view(-1, batch)
        for index in order:
            texts = tokenizer([caption(bank[i][1], rng) for i in index.tolist()], padding=True, return_tensors="pt")
            logits = model(pixel_values=varied(pictures[index]), **texts).logits_per_image
            target = torch.arange(batch)
            loss = (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            model.logit_scale.data.clamp_(max=np.log(100))
            hits, total = hits + (logits.argmax(1) == target).sum().item(), total + loss.item()
        print(
            f"epoch {epoch + 1}/{epochs}  loss {total / len(order):.3f}  matched {hits / order.numel():.3f}  "
            f"scale {model.logit_scale.exp().item():.1f}  {time.perf_counter() - begin:.0f} s",
            flush=True,
        )


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
    """Draw the stills, train, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--stills", type=int, default=60_000, help="how many pictures to draw")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the pictures")
    parser.add_argument("--batch", type=int, default=256, help="pairs per step")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and captions")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads and drawing processes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(options.threads) as pool:
        bank = pool.map(still, PRETRAINING_PEOPLE[: options.stills], chunksize=500)
    print(f"{len(bank)} stills drawn in {time.perf_counter() - begin:.0f} s", flush=True)
    rng = random.Random(options.seed)
    tokenizer = train_tokenizer([caption(shown, rng) for _, shown in bank[:20_000]], options.out)
    model = build(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    train(model, tokenizer, bank, options.epochs, options.batch, options.seed)
    save(model, options.out)


if __name__ == "__main__":
    main()
