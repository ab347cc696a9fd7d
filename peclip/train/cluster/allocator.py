"""How the C library hands out the memory of tensors on a CPU."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of mallopt(3)."""

LARGEST = 2**31 - 1
"""Bytes; mallopt takes an int."""


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one, where it is glibc that allocates.

    It gives tensors of more than 32 MB back to the system at once, which hands out the next ones page by page, each
    cleared and entered into the page table anew: with 4 clips of ViT-B/16 a quarter of the step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, LARGEST)
