"""Tiny random backbones of every family, written as their programs write them, with tokenizers made here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)

from peclip.clip_format import CLIP_MEAN, CLIP_STD
from tests.conftest import write_tiny_clip, write_tokenizer

CONTEXT, SIDE = 160, 32
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
WIDE = {**TOWER, "hidden_size": 64, "num_attention_heads": 1}
"""A tower with heads of the width that every head of OpenAI's CLIP has, which their files do not state."""

HALF = ((0.5,) * 3, (0.5,) * 3)
OTHER = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@dataclass(frozen=True)
class Family:
    """A backbone on disk, and the model of transformers whose features it must have.

    Attributes:
        path: of the folder or file.
        model: of transformers.
        tokenizer: of transformers.
        pixels: mean and standard deviation that belong to it.
    """

    path: Path
    model: Any
    tokenizer: Any
    pixels: tuple[tuple[float, ...], tuple[float, ...]]

    def image_features(self, frames: Tensor) -> Tensor:
        """Return Hugging Face's features (N, D) of frames (N, 3, H, W)."""
        inputs = {"pixel_values": frames}
        if isinstance(self.model, Siglip2Model):
            size = frames.shape[-1] // 16
            patches = frames.unfold(2, 16, 16).unfold(3, 16, 16)  # (N, 3, rows, columns, 16, 16)
            inputs = {
                "pixel_values": patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2),
                "pixel_attention_mask": torch.ones(len(frames), size**2, dtype=torch.int64),
                "spatial_shapes": torch.tensor([[size, size]] * len(frames)),
            }
        with torch.no_grad():
            return self.model.get_image_features(**inputs).pooler_output

    def text_features(self, texts: list[str]) -> Tensor:
        """Return Hugging Face's features (N, D) of texts, padded as the family needs it."""
        long = isinstance(self.model, SiglipModel | Siglip2Model)
        padding = {"padding": "max_length", "max_length": CONTEXT} if long else {"padding": True}
        ids = self.tokenizer(texts, return_tensors="pt", **padding).input_ids
        with torch.no_grad():
            return self.model.get_text_features(input_ids=ids).pooler_output


def write_family(kind: str, folder: Path) -> Family:
    """Write a tiny backbone of a family into a new folder."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    return WRITERS[kind](folder)


def write_clip(folder: Path) -> Family:
    write_tiny_clip(folder)
    return _read(folder, folder, CLIPModel.from_pretrained(folder), (CLIP_MEAN, CLIP_STD))


def write_metaclip2(folder: Path) -> Family:
    size = write_letters(folder, start="<s>", end="</s>", fill="<pad>")
    text = {**TOWER, "max_position_embeddings": CONTEXT, "vocab_size": size, "eos_token_id": 2, "bos_token_id": 0}
    config = MetaClip2Config(
        vision_config={**TOWER, "image_size": SIDE, "patch_size": 16}, text_config=text, projection_dim=24
    )
    MetaClip2Model(config).save_pretrained(folder)
    write_preprocessor(folder, *OTHER)
    return _read(folder, folder, MetaClip2Model.from_pretrained(folder), OTHER)


def write_siglip(folder: Path) -> Family:
    size = write_letters(folder, start=None, end="</s>", fill="</s>")
    text = {**TOWER, "max_position_embeddings": CONTEXT, "vocab_size": size}
    vision = {**TOWER, "image_size": SIDE, "patch_size": 16}
    model = SiglipModel(SiglipConfig(vision_config=vision, text_config=text))
    _stir(model).save_pretrained(folder)
    return _read(folder, folder, SiglipModel.from_pretrained(folder), HALF)


def write_siglip2(folder: Path) -> Family:
    """Write a SigLIP 2 for frames of any aspect ratio, with the positions of 2 x 2 patches; it pads on the left."""
    size = write_letters(folder, start=None, end="<eos>", fill="<pad>", padding_side="left")
    text = {**TOWER, "max_position_embeddings": CONTEXT, "vocab_size": size}
    config = Siglip2Config(vision_config={**TOWER, "num_patches": 4, "patch_size": 16}, text_config=text)
    _stir(Siglip2Model(config)).save_pretrained(folder)
    write_preprocessor(folder, *OTHER, file="processor_config.json")
    return _read(folder, folder, Siglip2Model.from_pretrained(folder), OTHER)


def write_open_clip(folder: Path) -> Family:
    """Write a folder of open_clip: exact GELU, heads of width 16, and its text tower below ``text.``."""
    size = write_tokenizer(folder)
    model = _clip(TOWER, size, hidden_act="gelu")
    state = {
        name if name.startswith("visual.") or name == "logit_scale" else f"text.{name}": value
        for name, value in openai_state(model).items()
    }
    save_file(state, folder / "open_clip_model.safetensors")
    tower = {"width": 32, "layers": 2}
    config = {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {**tower, "image_size": SIDE, "patch_size": 16, "head_width": 16, "mlp_ratio": 2.0},
            "text_cfg": {**tower, "heads": 2, "context_length": CONTEXT, "vocab_size": size},
            "custom_text": True,
        },
        "preprocess_cfg": {"mean": OTHER[0], "std": OTHER[1]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return _read(folder, folder, model, OTHER)


def write_file(folder: Path) -> Family:
    """Write a state dict in OpenAI's layout as FaRL's: half precision, beside other entries, with its tokenizer's files."""
    model = _clip(WIDE, write_tokenizer(folder), hidden_act="quick_gelu")
    state = {name: value.half() for name, value in openai_state(model).items()}
    model.load_state_dict({name: value.half().float() for name, value in model.state_dict().items()})
    torch.save({"state_dict": state, "epoch": 16}, folder / "farl.pth")
    return _read(folder, folder / "farl.pth", model, (CLIP_MEAN, CLIP_STD))


WRITERS = {
    "clip": write_clip,
    "metaclip2": write_metaclip2,
    "siglip": write_siglip,
    "siglip2": write_siglip2,
    "open_clip": write_open_clip,
    "file": write_file,
}


def write_letters(folder: Path, start: str | None, end: str, fill: str, padding_side: str = "right") -> int:
    """Write a tokenizer of single letters between a start token, if there is one, and an end token; return its size."""
    special = [*([start] if start else []), fill, *([end] if end != fill else []), "<unk>"]
    letters = [chr(code) for code in range(33, 127)]
    ids = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    both = [(token, ids[token]) for token in (start, end) if token]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}" if start else f"$A {end}", special_tokens=both
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        eos_token=end,
        pad_token=fill,
        unk_token="<unk>",
        padding_side=padding_side,
        model_max_length=CONTEXT,
    ).save_pretrained(folder)
    return len(ids)


def write_preprocessor(folder: Path, mean: Any, std: Any, file: str = "preprocessor_config.json") -> None:
    entries = {"do_normalize": True, "image_mean": list(mean), "image_std": list(std), "rescale_factor": 1 / 255}
    (folder / file).write_text(json.dumps({"image_processor": entries} if file.startswith("processor") else entries))


def openai_state(model: CLIPModel) -> dict[str, Tensor]:
    """Return the tensors of a CLIP under the names of OpenAI's program."""
    ours, state = model.state_dict(), {}
    for tower, prefix in (("vision_model", "visual."), ("text_model", "")):
        for block in range(2):
            here, there = f"{tower}.encoder.layers.{block}", f"{prefix}transformer.resblocks.{block}"
            for kind in ("weight", "bias"):
                heads = [ours[f"{here}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                state[f"{there}.attn.in_proj_{kind}"] = torch.cat(heads)
                for one, other in (
                    ("self_attn.out_proj", "attn.out_proj"),
                    ("layer_norm1", "ln_1"),
                    ("layer_norm2", "ln_2"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ):
                    state[f"{there}.{other}.{kind}"] = ours[f"{here}.{one}.{kind}"]
    for one, other in (
        ("vision_model.pre_layrnorm", "visual.ln_pre"),
        ("vision_model.post_layernorm", "visual.ln_post"),
        ("text_model.final_layer_norm", "ln_final"),
    ):
        state |= {f"{other}.{kind}": ours[f"{one}.{kind}"] for kind in ("weight", "bias")}
    return {
        **state,
        "visual.class_embedding": ours["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": ours["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": ours["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": ours["visual_projection.weight"].T.contiguous(),
        "token_embedding.weight": ours["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": ours["text_model.embeddings.position_embedding.weight"],
        "text_projection": ours["text_projection.weight"].T.contiguous(),
        "logit_scale": ours["logit_scale"],
    }


def _clip(tower: dict[str, int], vocabulary: int, hidden_act: str) -> CLIPModel:
    text = {"vocab_size": vocabulary, "eos_token_id": vocabulary - 1, "max_position_embeddings": CONTEXT}
    config = CLIPConfig(
        vision_config={**tower, "image_size": SIDE, "patch_size": 16, "hidden_act": hidden_act},
        text_config={**tower, **text, "hidden_act": hidden_act},
        projection_dim=24,
    )
    return _stir(CLIPModel(config)).eval()


def _stir(model: Any) -> Any:
    """Give every weight another value, biases of the head included, that transformers would start at zero."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.05)
    return model


def _read(folder: Path, path: Path, model: Any, pixels: Any) -> Family:
    config = CLIPConfig() if not (folder / "config.json").exists() else None
    return Family(path, model.eval(), AutoTokenizer.from_pretrained(folder, config=config), pixels)
