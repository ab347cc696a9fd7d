"""A batch on its way from a worker to the device."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from peclip.data.batch import NO_INDEX, Batch, Draw, Skipped, _copying, collate
from peclip.data.forking import METHOD, main_module_hidden, start_server

TENSORS = ("video", "label", "clip", "other_label")


def batch_of(*clips, **options):
    """Clips of one frame of one pixel, each filled with its number."""
    video = torch.tensor(clips, dtype=torch.uint8).view(-1, 1, 1, 1, 1).expand(-1, 1, 3, 1, 1).clone()
    draws = tuple(Draw(2, 1, clip, place) for place, clip in enumerate(clips))
    return Batch(video, torch.tensor(clips) % 3, torch.tensor(clips), draws, **options)


class Clips(torch.utils.data.Dataset):
    """Every third clip cannot be read."""

    def __getitem__(self, clip):
        none = torch.tensor([NO_INDEX])
        black = Batch(torch.zeros(1, 1, 3, 1, 1, dtype=torch.uint8), none, none, skipped=(Skipped(clip, "broken"),))
        return black if clip % 3 == 2 else batch_of(clip)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_joins_clips_without_those_that_cannot_be_read(workers):
    order = [[0, 1, 2, 3], [5, 8], [4, 2]]
    start_server()
    method = METHOD if workers else None
    options = {"num_workers": workers, "multiprocessing_context": method}
    with main_module_hidden():
        batches = list(DataLoader(Clips(), batch_sampler=order, collate_fn=collate, **options))
    assert [batch.clip.tolist() for batch in batches] == [[0, 1, 3], [NO_INDEX], [4]]
    assert [batch.video[:, 0, 0, 0, 0].tolist() for batch in batches] == [[0, 1, 3], [0], [4]]
    assert [[draw.clip for draw in batch.draws] for batch in batches] == [[0, 1, 3], [], [4]]
    assert [[skipped.clip for skipped in batch.skipped] for batch in batches] == [[2], [5, 8], [2]]
    assert batches[0].skipped == (Skipped(2, "broken"),)


def test_lightning_moves_every_tensor_and_keeps_the_rest():
    batch = batch_of(3, 4, other_label=torch.tensor([1, 0]), weight=0.4, skipped=(Skipped(5, "broken"),))
    moved = move_data_to_device(batch, torch.device("meta"))
    assert {getattr(moved, name).device.type for name in TENSORS} == {"meta"}
    assert (moved.draws, moved.skipped, moved.weight) == (batch.draws, batch.skipped, 0.4)
    assert {getattr(batch, name).device.type for name in TENSORS} == {"cpu"}


def test_a_loader_pins_every_tensor(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    batch = batch_of(3, 4, other_label=torch.tensor([1, 0]))
    copied = pin_memory(batch)
    assert [id(tensor) for tensor in pinned] == [id(getattr(batch, name)) for name in TENSORS]
    assert copied is not batch
    assert copied.draws == batch.draws


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_pinned_batches_reach_the_device():
    loader = DataLoader(Clips(), batch_sampler=[[0, 1], [3, 4]], collate_fn=collate, num_workers=2, pin_memory=True)
    for batch, clips in zip(loader, [[0, 1], [3, 4]], strict=True):
        assert batch.video.is_pinned()
        moved = move_data_to_device(batch, torch.device("cuda"))
        assert {getattr(moved, name).device.type for name in ("video", "label", "clip")} == {"cuda"}
        assert moved.clip.tolist() == clips


def test_pinned_batches_are_copied_on_a_stream_of_their_own_that_computing_waits_for(monkeypatch):
    """The order of what a GPU is asked for; what it does then is a test marked gpu."""
    asked = []

    class Stream:
        def __init__(self, device):
            self.device = device

        def wait_stream(self, other):
            asked.append(("wait", self.device, other.device))

    @contextmanager
    def on(stream):
        asked.append(("enter", stream.device))
        yield
        asked.append(("leave", stream.device))

    def to(tensor, device, non_blocking):
        asked.append(("copy", device, non_blocking))
        return tensor.clone()

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("copying"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("computing"))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: True)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: asked.append(("used", stream.device)))
    _copying.cache_clear()
    try:
        batch_of(3, 4).to("cuda")
    finally:
        _copying.cache_clear()
    assert asked == [
        ("enter", "copying"),
        *[("copy", "cuda", True)] * 3,
        ("leave", "copying"),
        ("wait", "computing", "copying"),
        *[("used", "computing")] * 3,
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_pinned_batches_are_copied_while_the_gpu_computes():
    busy, copied = torch.randn(8192, 8192, device="cuda"), torch.cuda.Event()
    pinned = batch_of(3, 4).pin_memory()
    pinned.to("cuda")  # the first copy makes the stream
    torch.cuda.synchronize()
    for _ in range(20):
        busy = busy @ busy
    computed = torch.cuda.Event()
    computed.record()
    moved = pinned.to("cuda")
    _copying(torch.device("cuda")).record_event(copied)
    copied.synchronize()
    assert not computed.query()
    assert torch.equal(moved.video.cpu(), pinned.video)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_batch_that_is_no_longer_needed_leaves_its_memory_when_what_was_queued_has_used_it():
    video, sums = torch.arange(2**22, dtype=torch.int32), []
    busy = torch.randn(2048, 2048, device="cuda")
    batches = [replace(batch_of(3), video=video + step).pin_memory() for step in range(20)]
    for batch in batches:
        busy = busy @ busy
        sums.append(batch.to("cuda").video.sum())
    assert [int(each) for each in sums] == [int(batch.video.sum()) for batch in batches]


def test_clips_of_other_ranks_are_removed():
    batch = batch_of(3, 4, 5, other_label=torch.tensor([1, 2, 0]))
    batch = replace(batch, draws=tuple(draw._replace(own=draw.clip != 4) for draw in batch.draws))
    own = batch.own()
    assert (own.clip.tolist(), own.label.tolist(), own.other_label.tolist()) == ([3, 5], [0, 2], [1, 0])
    assert own.video[:, 0, 0, 0, 0].tolist() == [3, 5]
    assert [draw.clip for draw in own.draws] == [3, 5]
    none = replace(batch, draws=tuple(draw._replace(own=False) for draw in batch.draws)).own()
    assert (none.clip.tolist(), none.label.tolist(), none.other_label.tolist()) == ([NO_INDEX],) * 3
    assert (len(none.video), none.draws) == (1, ())
