"""No step waits for the device: on the meta device, which holds no values, every request for one fails."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from peclip.clip_format import ClipFormat
from peclip.data.augment import Augment, Mix, augment, mix, normalize
from peclip.data.batch import NO_INDEX, Batch, Draw
from peclip.train.callbacks import dashboard, predictions
from peclip.train.callbacks.console import Progress
from peclip.train.callbacks.dashboard import frames_of
from peclip.train.callbacks.finite_loss import FiniteLoss
from peclip.train.evaluation import Outputs
from peclip.train.module import PEClipModule
from tests.model.small import LABELS, build


class NoWaiting(TorchDispatchMode):
    """Refuses copies from the host for which it would wait."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.ops.aten._to_copy.default and args[0].device.type == "cpu":
            target = kwargs.get("device")
            assert target is None or target.type == "cpu" or kwargs.get("non_blocking"), "the host waits for a copy"
        return function(*args, **kwargs)


@pytest.fixture
def module(tiny_clip, monkeypatch):
    module = PEClipModule(build(tiny_clip)).to("meta")
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    return module


def batch(**changes):
    video = torch.empty(2, 3, 3, 32, 32, device="meta")
    label = torch.empty(2, dtype=torch.int64, device="meta")
    return Batch(video, label, label, **changes)


def test_a_training_step(module):
    other = torch.empty(2, dtype=torch.int64, device="meta")
    with NoWaiting():
        for given in (batch(), batch(other_label=other, weight=0.7)):
            module.training_step(given, 0).backward()
    optimizer = torch.optim.AdamW(module.parameter_groups())
    optimizer.step()


def test_an_evaluated_batch(module):
    with NoWaiting():
        module._evaluate(batch(), module.val_metrics)


@pytest.mark.parametrize("settings", [Mix(mixup=1, fmix=0), Mix(mixup=0, fmix=1)], ids=["mixup", "fmix"])
def test_the_input_of_the_model(settings):
    video = torch.empty(2, 3, 3, 40, 40, dtype=torch.uint8, device="meta")
    with NoWaiting():
        pixels = augment(video, [0, 1], Augment(rotation=4, brightness=0.5), seed=0, epoch=0, size=32)
        pixels = normalize(pixels, ClipFormat(3, 32))
        mix(pixels, batch().label, settings, seed=0, epoch=0, step=0)
        normalize(video, ClipFormat(3, 40))
        batch(draws=(Draw(0, 0, 1), Draw(0, 0, 2, own=False))).own()


def test_a_loss_is_looked_at_when_its_step_is_over():
    asked = []

    class Asked(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten._local_scalar_dense.default:
                asked.append(float(args[0].detach().numpy()))
            return function(*args, **(kwargs or {}))

    callback, trainer = FiniteLoss(), SimpleNamespace(optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])])
    trainer.global_step = trainer.current_epoch = 0
    given = Batch(torch.zeros(1), torch.zeros(1), torch.zeros(1), (Draw(0, 0, NO_INDEX),))
    with Asked():
        for loss in (3.0, 4.0, 5.0):
            callback.on_train_batch_start(trainer, None, None, 0)
            callback.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)}, given, 0)
    assert asked == [3.0, 4.0]


@pytest.mark.parametrize("callback", ["predictions", "mistakes"])
def test_outputs_are_looked_at_when_the_next_batch_is_queued(module, monkeypatch, callback):
    asking = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.is_nonzero)
    asked = []

    class Asked(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket in asking:
                asked.append(function)
            return function(*args, **(kwargs or {}))

    clip, clips = SimpleNamespace(path="a.mp4", where="line 2"), []
    manifest = SimpleNamespace(clip=lambda index: clips.append(index) or clip)
    trainer = SimpleNamespace(state=SimpleNamespace(fn="test"), sanity_checking=False)
    for name in (predictions, dashboard):
        monkeypatch.setattr(name, "evaluated_clips", lambda _: manifest)
    monkeypatch.setattr(dashboard, "module_and_data", lambda _: (module, None))
    watched = predictions.PredictionWriter() if callback == "predictions" else dashboard.Dashboard(None)
    watched._boards = [None]
    for number in range(3):
        label, found = torch.tensor([0, 1]), torch.tensor([2 * number, 2 * number + 1])
        given = Batch(torch.zeros(2, 3, 3, 32, 32), label, found)
        with Asked():
            before = len(asked)
            watched.on_evaluated(trainer, Outputs(found, torch.tensor([[0.0, 1, 0]] * 2)), given)
            assert (len(asked) > before) is (number > 0)
        assert len(watched._outputs) == number
    watched.on_validation_epoch_end(trainer, module)
    assert [each.clip.tolist() for each in watched._outputs] == [[0, 1], [2, 3], [4, 5]]
    if callback == "mistakes":
        assert clips == [0, 2, 4]
        assert [(each.truth, each.predicted) for each in watched._mistakes] == [(LABELS[0], LABELS[1])] * 3


def test_the_scores_beside_a_progress_bar_are_read_when_they_are_new():
    asked = []

    class Asked(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten._local_scalar_dense.default:
                asked.append(function)
            return function(*args, **(kwargs or {}))

    found = {"train/loss_epoch": torch.tensor(0.25), "val/war": torch.tensor(0.5)}
    trainer = SimpleNamespace(callback_metrics=found, progress_bar_metrics={}, state=SimpleNamespace(fn="fit"))
    bar = Progress()
    with Asked():
        bar.on_validation_end(trainer, None)
        assert len(asked) == 2
        for _ in range(10):
            assert bar.get_metrics(trainer, None) == {"train/loss": "0.250", "val/war": "0.500"}
    assert len(asked) == 2


def test_the_frames_of_mistakes():
    with NoWaiting():
        assert frames_of(torch.empty(2, 3, 3, 32, 32, device="meta"), ClipFormat(3, 32)).shape == (2, 6, 64, 64, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_neither_on_a_gpu(tiny_clip, monkeypatch):
    module = PEClipModule(build(tiny_clip)).cuda()
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    label = torch.tensor([0, len(LABELS) - 1]).cuda()
    given = Batch(torch.randn(2, 3, 3, 32, 32).cuda(), label, label)
    module.training_step(given, 0).backward()  # the first use of kernels loads them
    with torch.no_grad():
        module._evaluate(given, module.val_metrics)
    torch.cuda.set_sync_debug_mode("error")
    try:
        video = torch.zeros(2, 3, 3, 40, 40, dtype=torch.uint8, device="cuda")
        pixels = augment(video, [0, 1], Augment(rotation=4, brightness=0.5), seed=0, epoch=0, size=32)
        mix(normalize(pixels, ClipFormat(3, 32)), label, Mix(mixup=1, fmix=0), seed=0, epoch=0, step=0)
        module.training_step(given, 0).backward()
        with torch.no_grad():
            module._evaluate(given, module.val_metrics)
    finally:
        torch.cuda.set_sync_debug_mode("default")
