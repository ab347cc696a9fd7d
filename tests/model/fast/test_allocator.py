"""Memory that was freed is used again without the help of the system."""

import platform
import resource

import pytest
import torch

from peclip.errors import InputError
from peclip.inference import trained
from peclip.model.fast.allocator import keep_freed_memory


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
