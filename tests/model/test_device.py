"""Devices by name, precisions that a device computes in, and memory that is used again without the help of the system."""

import platform
import resource

import pytest
import torch
from transformers import CLIPModel

from peclip.bench.sizes import random_config
from peclip.errors import InputError
from peclip.inference import trained
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.freeze import freeze
from peclip.model.device import best_precision, check_precision, find_device, keep_freed_memory


@pytest.mark.parametrize("name", ["meta", "abacus", "cuda:99"])
def test_a_device_that_is_absent_or_computes_nothing_is_refused(name):
    with pytest.raises(
        InputError, match=f"device is '{name}', expected auto or a device of this machine: cpu"
    ) as refused:
        find_device(name)
    assert refused.value.arguments == ("device",)


def test_a_gpu_that_cannot_be_used_is_refused_with_the_reason(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", fails)
    for name, found in (("auto", "cuda"), ("cuda:1", "cuda:1")):
        with pytest.raises(InputError, match=f"device {found} cannot be used: CUDA error: out of memory"):
            find_device(name)
    with pytest.raises(InputError, match="device is 'cuda:7', expected auto or a device of this machine: cpu, cuda:0"):
        find_device("cuda:7")


def test_a_device_that_the_caller_does_not_support_is_refused():
    with pytest.raises(InputError, match="device is 'cpu'"):
        find_device("cpu", kinds=("cuda",))


def test_auto_is_a_gpu_with_its_number_where_there_is_one_else_the_cpu():
    expected = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    assert find_device("auto") == expected


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_was_freed_is_handed_out_again_without_page_faults():
    keep_freed_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(48 * 2**18)  # 48 MB, 12,288 pages
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 25 * 12_288  # the first ones make the place


def test_loading_the_model_of_a_command_sets_it(monkeypatch):
    calls = []
    monkeypatch.setattr(trained, "keep_freed_memory", lambda: calls.append(None))
    with pytest.raises(InputError, match="CLIP without training is called zero-shot"):
        trained.load_model("zero_shot")
    assert calls == [None]
