"""A training does not leak memory, files or processes."""

import pytest

from tests.stress.soak import soak

IN_FLIGHT = 24
"""Open files by which samples differ: each tensor of a batch on its way from a worker is one."""

READS_AHEAD = 1
"""Threads by which samples differ: one waits for the clips of the next validation."""


@pytest.mark.slow
@pytest.mark.parametrize("steps", [300, pytest.param(20_000, marks=pytest.mark.stress)])
def test_memory_files_and_threads_stay_flat(steps, tmp_path, tiny_clip):
    samples = soak(tmp_path, tiny_clip, steps, every=steps // 10)
    assert samples[-1].step == steps
    settled = samples[2:]
    assert len({entry.processes for entry in settled}) == 1
    assert max(entry.threads for entry in settled) <= min(entry.threads for entry in settled) + READS_AHEAD
    assert max(entry.files for entry in settled) <= min(entry.files for entry in settled) + IN_FLIGHT
    assert settled[-1].megabytes < 1.05 * settled[0].megabytes
