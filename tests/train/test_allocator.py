"""Memory that was freed is used again without the help of the system."""

import platform
import resource

import pytest
import torch

from peclip.train.allocator import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_was_freed_is_handed_out_again_without_page_faults():
    keep_freed_memory()
    for _ in range(5):  # until there is a free place that is large enough for one more of that size
        torch.ones(64 * 2**18)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(64 * 2**18)  # 64 MB, 16,384 pages
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 16_384
