"""The default precision is bf16 where a CPU has units for it, and nowhere else."""

import platform

import pytest
import torch
from transformers import CLIPModel

from peclip.bench.sizes import random_config
from peclip.errors import InputError
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.freeze import freeze
from peclip.model.precision import best_precision, check_precision


@pytest.mark.parametrize(
    ("machine", "avx512_bf16", "amx", "accepted", "precision"),
    [
        ("x86_64", False, False, True, "32-true"),  # AVX-512 without units for bf16, which oneDNN accepts
        ("x86_64", True, False, True, "bf16-mixed"),
        ("AMD64", False, True, True, "bf16-mixed"),
        ("aarch64", False, False, True, "bf16-mixed"),
        ("aarch64", False, False, False, "32-true"),
    ],
)
def test_a_cpu_computes_in_bf16_where_it_has_units_for_it(machine, avx512_bf16, amx, accepted, precision, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: accepted)
    assert best_precision("cpu") == precision


def test_lightning_trains_in_a_precision_that_keeps_weights_in_fp32():
    for precision in ("32-true", "bf16-mixed", "16-mixed"):
        check_precision(precision, "fp32")
    with pytest.raises(InputError, match=r"^trainer\.precision is 64-true, expected bf16-mixed or 32-true or 16-mixed"):
        check_precision("64-true", "fp32")


def test_pixels_that_fill_no_patch_are_left_out_in_every_precision():
    net = CLIP("odd", freeze(CLIPModel(random_config("tiny", 40))))
    frames = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    embedding = net.clip.vision_model.embeddings.patch_embedding
    with torch.inference_mode():
        plain = embedding(frames)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.allclose(embedding(frames).float(), plain, atol=0.05)
