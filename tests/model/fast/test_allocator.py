"""Memory that was freed is used again without the help of the system."""

import platform
import resource

import pytest
import torch

from peclip.model.fast.allocator import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_was_freed_is_handed_out_again_without_page_faults():
    keep_freed_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(48 * 2**18)  # 48 MB, 12,288 pages
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 25 * 12_288  # the first ones make the place
