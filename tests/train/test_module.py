"""Training of a PEClip: rates, loss, the content of a checkpoint, and the frozen weights."""

import hashlib
import math

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn import functional as F

from peclip.data.augment import Mix
from peclip.data.batch import Batch
from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError
from peclip.model import GRUHead, PEClip, read_trained
from peclip.train.module import PEClipModule
from tests.model.small import build, stir
from tests.runs import LABELS

QUIET = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


def clips_of(manifest, **options):
    """9 training, 3 validation and 6 test clips, as 3 batches an epoch."""
    options = {"batch_size": 3, "num_workers": 0, **options}
    return VideoDataModule(manifest=str(manifest), **options)


def module_of(tiny_clip, labels=LABELS, net=None, **options):
    return PEClipModule(net or build(tiny_clip, labels=labels, num_frames=3), **options)


def fit(module, data, callbacks=(), ckpt_path=None, **options):
    checkpoints = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    options = QUIET | {"enable_checkpointing": checkpoints, "callbacks": [*callbacks]} | options
    trainer = Trainer(**options)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def digest(state):
    """A hash over names and bytes."""
    total = hashlib.sha256()
    for name, value in state.items():
        total.update(name.encode() + value.detach().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


class Recorder(Callback):
    """Keeps the learning rates of every step, the losses, and which parameters ever had a gradient."""

    def __init__(self):
        self.rates, self.losses, self.moved = [], [], set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append([group["lr"] for group in optimizer.param_groups])
        for name, weight in pl_module.named_parameters():
            if weight.grad is not None and weight.grad.abs().max() > 0:
                self.moved.add(name)


# --- rates ---


@pytest.mark.parametrize(("rate", "expected"), [(None, 4e-4), (1e-3, 1e-3), (0.0, 0.0)])
def test_a_temporal_head_has_the_rate_of_the_adapters_or_its_own(tiny_clip, rate, expected):
    net = build(tiny_clip, labels=LABELS, num_frames=3, adapters={}, prompts=None, temporal=GRUHead)
    module = PEClipModule(net, lr_adapters=4e-4, lr_temporal=rate)
    (group,) = module.parameter_groups()
    assert (group["name"], group["lr"]) == ("temporal", expected)
    assert {id(weight) for weight in group["params"]} == {id(weight) for weight in net.temporal.parameters()}
    module.lr = 8e-4
    assert module.rates["temporal"] == pytest.approx(2 * expected)


def test_rates_that_are_numbers_of_numpy_become_those_of_python(tiny_net):
    """A checkpoint holds them within the state of the optimizer, and could not be read."""
    module = PEClipModule(tiny_net, lr_adapters=np.float64(4e-4), warmup_lr=np.float32(1e-5), lr_temporal=np.float64(1))
    for rate in (4e-4, np.float64(8e-4)):
        module.lr = rate
        numbers = (*module.rates.values(), module.recipe.warmup_lr)
        assert {type(number) for number in numbers} == {float}


def test_adapters_and_prompts_have_rates_of_their_own_and_decay_on_everything(tiny_clip, tiny_data):
    module = module_of(tiny_clip, lr_adapters=4e-4, lr_prompts=8e-5, weight_decay=0.05)
    trainer = fit(module, clips_of(tiny_data), max_steps=1)
    (optimizer,) = trainer.optimizers
    adapters, prompts = optimizer.param_groups
    assert (adapters["initial_lr"], prompts["initial_lr"]) == pytest.approx((4e-4, 8e-5))
    assert {id(weight) for weight in adapters["params"]} == {id(weight) for weight in module.net.adapters.parameters()}
    assert {id(weight) for weight in prompts["params"]} == {id(weight) for weight in module.net.prompts.parameters()}
    assert type(optimizer) is torch.optim.AdamW
    assert adapters["weight_decay"] == prompts["weight_decay"] == 0.05


def test_rates_warm_up_in_a_line_and_fall_along_a_cosine_to_zero(tiny_clip, tiny_data):
    module = module_of(tiny_clip, lr_adapters=2e-4, lr_prompts=3e-5, warmup_epochs=1, warmup_lr=2e-5)
    recorder = Recorder()
    trainer = fit(module, clips_of(tiny_data), [recorder], max_epochs=5, limit_val_batches=0)
    # 15 steps, of which 3 warm up. By hand: 2e-5, then a third and two thirds of the way to the rate; half of the rate
    # in the middle of the cosine, (1 + cos(pi / 6)) / 2 of it after a sixth, and nothing at its end.
    adapters, prompts = zip(*recorder.rates, strict=True)
    assert len(adapters) == 15
    assert adapters[:4] == pytest.approx([2e-5, 8e-5, 14e-5, 20e-5])
    assert prompts[:4] == pytest.approx([2e-5, 2e-5 + 1e-5 / 3, 2e-5 + 2e-5 / 3, 3e-5])
    assert (adapters[9], prompts[9]) == pytest.approx((1e-4, 1.5e-5))
    assert (adapters[5], prompts[5]) == pytest.approx((2e-4 * 0.9330127, 3e-5 * 0.9330127))
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == pytest.approx([0, 0])


def rates(tiny_clip, tiny_data, max_epochs, **options):
    """The learning rates of the adapters, three an epoch."""
    recorder = Recorder()
    fit(
        module_of(tiny_clip, **options),
        clips_of(tiny_data),
        [recorder],
        max_epochs=max_epochs,
        limit_val_batches=0,
    )
    return [adapters for adapters, _ in recorder.rates]


def test_a_rate_below_the_start_of_the_warm_up_stays_where_it_is(tiny_clip, tiny_data):
    assert rates(tiny_clip, tiny_data, 1, lr_adapters=1e-5, warmup_lr=2e-5, warmup_epochs=1) == [1e-5] * 3


def test_without_warm_up_the_cosine_starts_at_the_rate(tiny_clip, tiny_data):
    assert rates(tiny_clip, tiny_data, 1, lr_adapters=1e-3, warmup_epochs=0) == pytest.approx([1e-3, 7.5e-4, 2.5e-4])


def test_rates_fall_step_by_step_where_asked_for(tiny_clip, tiny_data):
    options = {"lr_adapters": 1e-3, "warmup_lr": 4e-4, "schedule": "step", "step_epochs": 2, "step_factor": 0.5}
    assert rates(tiny_clip, tiny_data, 5, warmup_epochs=0, **options) == pytest.approx(
        [1e-3] * 6 + [5e-4] * 6 + [2.5e-4] * 3
    )
    assert rates(tiny_clip, tiny_data, 3, warmup_epochs=1, **options) == pytest.approx(
        [4e-4, 6e-4, 8e-4] + [1e-3] * 3 + [5e-4] * 3
    )


def test_a_rate_of_zero_is_zero(tiny_clip, tiny_data):
    assert rates(tiny_clip, tiny_data, 1, lr_adapters=0) == [0] * 3


@pytest.mark.parametrize("parts", ["adapters", "prompts"])
def test_either_kind_of_part_trains_without_the_other(parts, tiny_clip, tiny_data):
    options = {"prompts": None} if parts == "adapters" else {"adapters": {}}
    module = module_of(tiny_clip, net=build(tiny_clip, num_frames=3, labels=LABELS, **options))
    trainer = fit(module, clips_of(tiny_data), max_steps=1, limit_val_batches=0)
    (group,) = trainer.optimizers[0].param_groups
    assert group["initial_lr"] == {"adapters": 2e-4, "prompts": 3e-5}[parts]


def test_nothing_to_train_is_refused(tiny_clip, tiny_data):
    module = module_of(tiny_clip, net=build(tiny_clip, num_frames=3, adapters={}, prompts=None, labels=LABELS))
    with pytest.raises(InputError, match="nothing to train"):
        fit(module, clips_of(tiny_data), max_steps=1)


def test_a_schedule_without_an_end_is_refused(tiny_clip, tiny_data):
    with pytest.raises(InputError, match=r"trainer\.max_epochs"):
        fit(module_of(tiny_clip), clips_of(tiny_data), max_epochs=-1)


@pytest.mark.parametrize(
    "name", ["lr_adapters", "lr_prompts", "lr_temporal", "weight_decay", "warmup_epochs", "warmup_lr"]
)
@pytest.mark.parametrize("value", [-1e-3, math.inf, math.nan])
def test_numbers_out_of_range_are_refused(name, value, tiny_net):
    with pytest.raises(InputError, match=rf"^{name} is {value}"):
        PEClipModule(tiny_net, **{name: value})


@pytest.mark.parametrize(("name", "value"), [("step_epochs", 0), ("step_factor", 0.0), ("step_factor", 1.5)])
def test_steps_out_of_range_are_refused(name, value, tiny_net):
    with pytest.raises(InputError, match=rf"^{name} is {value}"):
        PEClipModule(tiny_net, **{name: value})


# --- the loss ---


@pytest.fixture(scope="module")
def tiny_net(tiny_clip):
    """A model whose every part does something; not to be changed."""
    return stir(build(tiny_clip, num_frames=3, labels=LABELS))


def step(module, batch, monkeypatch):
    monkeypatch.setattr(module, "log", lambda *args, **kwargs: None)
    return module.training_step(batch, 0)


def test_the_loss_of_a_mixed_batch_is_shared_between_both_labels(tiny_net, monkeypatch):
    module = PEClipModule(tiny_net)
    video = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    label, other = torch.tensor([0, 2]), torch.tensor([2, 0])
    log_p = module(video).log_softmax(dim=1)
    own, partner = -(log_p[0, 0] + log_p[1, 2]) / 2, -(log_p[0, 2] + log_p[1, 0]) / 2
    mixed = step(module, Batch(video, label, torch.arange(2), other_label=other, weight=0.7), monkeypatch)
    torch.testing.assert_close(mixed, 0.7 * own + 0.3 * partner)
    unmixed = step(module, Batch(video, label, torch.arange(2), other_label=label), monkeypatch)
    torch.testing.assert_close(unmixed, own)
    torch.testing.assert_close(unmixed, F.cross_entropy(module(video), label))


def test_the_loss_is_that_of_full_precision_logits(tiny_net, monkeypatch):
    module = PEClipModule(tiny_net)
    batch = Batch(torch.randn(2, 3, 3, 32, 32), torch.tensor([0, 2]), torch.arange(2))
    with torch.autocast("cpu", torch.bfloat16):
        assert step(module, batch, monkeypatch).dtype == torch.float32


# --- what trains and what does not ---


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_every_trainable_parameter_gets_a_gradient_and_no_frozen_weight_changes(precision, tiny_clip, tiny_data):
    module = module_of(tiny_clip, lr_adapters=1e-2, lr_prompts=1e-2, warmup_epochs=0)
    frozen, trainable = digest(module.net.clip.state_dict()), module.net.trainable_state()
    before = {name: value.clone() for name, value in trainable.items()}
    recorder = Recorder()
    fit(module, clips_of(tiny_data), [recorder], max_epochs=2, precision=precision)
    assert recorder.moved == {f"net.{name}" for name in trainable}
    assert [name for name, value in module.net.trainable_state().items() if torch.equal(value, before[name])] == []
    assert digest(module.net.clip.state_dict()) == frozen
    assert all(math.isfinite(loss) for loss in recorder.losses)
    assert all(value.dtype == torch.float32 for value in module.net.trainable_state().values())


def test_frozen_weights_held_in_bf16_train_as_those_in_fp32(tiny_clip, tiny_data):
    states = []
    for frozen in ("fp32", "bf16"):
        module = module_of(tiny_clip, frozen=frozen)
        fit(module, clips_of(tiny_data), max_epochs=1, precision="bf16-mixed")
        states.append(module.net.trainable_state())
    assert module.net.clip.visual_projection.weight.dtype == torch.bfloat16
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("name", ["frozen", "residual"])
def test_what_is_held_in_bf16_needs_that_precision(name, tiny_clip, tiny_data):
    with pytest.raises(InputError, match=rf"^{name} is bf16, but trainer\.precision is 32-true"):
        fit(module_of(tiny_clip, **{name: "bf16"}), clips_of(tiny_data), max_epochs=1, precision="32-true")


def test_with_a_narrow_residual_everything_trains_and_stays_in_fp32(tiny_clip, tiny_data):
    module = module_of(tiny_clip, residual="bf16")
    before = {name: value.clone() for name, value in module.net.trainable_state().items()}
    fit(module, clips_of(tiny_data), max_epochs=2, precision="bf16-mixed")
    after = module.net.trainable_state()
    assert [name for name, value in after.items() if torch.equal(value, before[name])] == []
    assert {value.dtype for value in after.values()} == {torch.float32}


def test_training_lowers_the_loss_on_its_own_clips(tiny_clip, tiny_data):
    module = module_of(tiny_clip, lr_adapters=5e-3, lr_prompts=1e-3, warmup_epochs=0)
    recorder = Recorder()
    data = clips_of(tiny_data, batch_size=9, mix=Mix(mixup=0, fmix=0))
    fit(module, data, [recorder], max_epochs=12, limit_val_batches=0)
    assert sum(recorder.losses[-3:]) < 0.5 * sum(recorder.losses[:3])


# --- checkpoints ---


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, tiny_clip, tiny_data):
    """A run of four epochs that kept a checkpoint of each, and the module at its end."""
    folder = tmp_path_factory.mktemp("whole_run")
    checkpoints = ModelCheckpoint(folder, "{epoch}", save_top_k=-1, auto_insert_metric_name=False)
    module, recorder = module_of(tiny_clip, lr_adapters=1e-3), Recorder()
    trainer = fit(module, clips_of(tiny_data), [checkpoints, recorder], max_epochs=4)
    return folder, module, recorder, dict(trainer.callback_metrics)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(workers, whole_run, tiny_clip, tiny_data):
    folder, uninterrupted, recorder, metrics = whole_run
    resumed, rest = module_of(tiny_clip, lr_adapters=1e-3), Recorder()
    data = clips_of(tiny_data, num_workers=workers)
    trainer = fit(resumed, data, [rest], ckpt_path=str(folder / "1.ckpt"), max_epochs=4)
    assert (trainer.global_step, len(rest.losses)) == (12, 6)
    assert rest.losses == recorder.losses[6:]
    assert rest.rates == recorder.rates[6:]
    assert digest(resumed.net.trainable_state()) == digest(uninterrupted.net.trainable_state())
    assert {name: float(value) for name, value in trainer.callback_metrics.items()} == {
        name: float(value) for name, value in metrics.items()
    }


def test_a_checkpoint_holds_only_what_is_trainable(whole_run):
    folder, module, *_ = whole_run
    content = torch.load(folder / "3.ckpt", weights_only=True)
    assert content["state_dict"].keys() == {f"net.{name}" for name in module.net.trainable_state()}
    assert {name for name, _ in module.named_parameters()} > content["state_dict"].keys()
    clip = sum(weight.numel() * weight.element_size() for weight in module.net.clip.parameters())
    assert clip > sum(value.numel() * value.element_size() for value in content["state_dict"].values())


def test_a_checkpoint_says_what_rebuilds_the_model(whole_run, tiny_clip):
    folder, module, *_ = whole_run
    config = torch.load(folder / "3.ckpt", weights_only=True)["peclip"]
    assert config["backbone"] == str(tiny_clip)
    assert config["labels"] == list(LABELS)
    assert config["texts"]["happiness"] == "Cheek Raiser, Lip Corner Puller."
    assert list(config["adapters"]) == ["vision.attention", "vision.mlp", "text.attention", "text.mlp"]
    assert config["prompts"]["init_args"] == {"depth": 2}
    assert (config["clip_format"]["num_frames"], config["clip_format"]["image_size"]) == (3, 32)
    video = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    net = PEClip.from_trained(read_trained(folder / "3.ckpt"))
    with torch.no_grad():
        assert torch.equal(net(video), module.net.eval()(video))


def load(module, content):
    """Restore the content of a checkpoint as Lightning does."""
    module.on_load_checkpoint(content)


@pytest.fixture
def content(whole_run):
    return torch.load(whole_run[0] / "3.ckpt", weights_only=True)


def test_a_checkpoint_of_other_labels_is_refused(content, tiny_clip):
    for labels in (("happiness", "sadness", "fear"), ("sadness", "happiness", "anger"), ("happiness", "sadness")):
        with pytest.raises(InputError, match=f"was trained on the labels {', '.join(LABELS)}, but the data has"):
            load(module_of(tiny_clip, labels=labels), content)


def test_missing_weights_are_named(content, tiny_clip):
    del content["state_dict"]["net.prompts.tokens.1"]
    with pytest.raises(InputError, match=r"lacks prompts\.tokens\.1"):
        load(module_of(tiny_clip), content)


def test_weights_of_another_model_are_named(content, tiny_clip):
    with pytest.raises(InputError, match=r"net\.prompts is none, but .* was trained with peclip\.model\.MaPLe"):
        load(module_of(tiny_clip, net=build(tiny_clip, prompts=None, labels=LABELS, num_frames=3)), content)
    content["state_dict"]["net.prompts.tokens.0"] = torch.zeros(3, 32)
    with pytest.raises(InputError, match=r"prompts\.tokens\.0 has shape \(3, 32\), the model's has \(2, 32\)"):
        load(module_of(tiny_clip), content)


def test_a_checkpoint_of_another_program_is_refused(tiny_net):
    with pytest.raises(InputError, match="not written by peclip"):
        load(PEClipModule(tiny_net), {"state_dict": {}})


# --- evaluation ---


def test_evaluation_scores_all_clips_and_bare_clip_beside_them(tiny_clip, tiny_data):
    net = stir(build(tiny_clip, num_frames=3, labels=LABELS))
    bare = build(tiny_clip, num_frames=3, adapters={}, prompts=None, labels=LABELS)
    data = clips_of(tiny_data, eval_batch_size=4)
    module, plain = module_of(tiny_clip, net=net, zero_shot=True), module_of(tiny_clip, net=bare)
    Trainer(**QUIET, enable_checkpointing=False).test(module, datamodule=data, verbose=False)
    Trainer(**QUIET, enable_checkpointing=False).test(plain, datamodule=data, verbose=False)
    assert module.scores["test"].clips == module.scores["zero_shot"].clips == 6
    assert module.scores["zero_shot"].confusion.tolist() == plain.scores["test"].confusion.tolist()
    assert "zero_shot" not in plain.scores


def test_predictions_are_probabilities_of_every_clip(tiny_net, tiny_data):
    data = clips_of(tiny_data, eval_batch_size=4)
    batches = Trainer(**QUIET, enable_checkpointing=False).predict(PEClipModule(tiny_net), datamodule=data)
    clips = torch.cat([outputs.clip for outputs in batches])
    probabilities = torch.cat([outputs.probabilities for outputs in batches])
    assert clips.tolist() == list(range(6))
    assert probabilities.shape == (6, 3)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6))


def test_the_best_checkpoint_has_the_best_war_and_at_a_tie_the_lower_loss(tiny_clip, tiny_data):
    module = module_of(tiny_clip)
    trainer = fit(module, clips_of(tiny_data), max_epochs=1)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val/score"] == pytest.approx(metrics["val/war"] - 1e-4 * metrics["val/loss"], abs=1e-6)
    assert abs(metrics["val/score"] - metrics["val/war"]) < 1 / 101  # less than one clip of a validation split
