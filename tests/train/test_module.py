"""Training of a PEClip: the loss, the frozen weights, the content of a checkpoint, and the evaluation."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn import functional as F

from peclip.data.augment import Mix
from peclip.data.batch import Batch
from peclip.errors import InputError
from peclip.model import PEClip, read_trained
from peclip.train.metrics import selection_score
from peclip.train.module import PEClipModule
from tests.model.small import build, stir
from tests.runs import LABELS
from tests.train.modules import EXPECTED_WARNINGS, QUIET, Recorder, clips_of, digest, fit, module_of

pytestmark = EXPECTED_WARNINGS


# --- the loss ---


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


def test_with_a_narrow_residual_everything_trains_with_other_rounding_and_stays_in_fp32(tiny_clip, tiny_data):
    states = []
    for residual in ("fp32", "bf16"):
        module = module_of(tiny_clip, residual=residual)
        before = {name: value.clone() for name, value in module.net.trainable_state().items()}
        fit(module, clips_of(tiny_data), max_epochs=2, precision="bf16-mixed")
        states.append(module.net.trainable_state())
    plain, narrow = states
    assert [name for name, value in narrow.items() if torch.equal(value, before[name])] == []
    assert {value.dtype for value in narrow.values()} == {torch.float32}
    assert any(not torch.equal(value, plain[name]) for name, value in narrow.items())


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


@pytest.mark.parametrize("labels", [LABELS[::-1], LABELS[:2], [*LABELS, "fear"]], ids=["order", "fewer", "more"])
def test_clips_with_other_labels_than_the_model_are_refused(labels, tiny_clip, tiny_data):
    """Their numbers would mean other classes."""
    module = module_of(tiny_clip, net=build(tiny_clip, num_frames=3, labels=labels))
    trainer = Trainer(**QUIET, enable_checkpointing=False)
    for use in (trainer.fit, trainer.validate, trainer.test):
        with pytest.raises(InputError, match=r"create the data module with the labels of the model"):
            use(module, datamodule=clips_of(tiny_data))
    assert trainer.predict(module, datamodule=clips_of(tiny_data))


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
    score = selection_score(module.scores["val"].war, metrics["val/loss"])
    assert metrics["val/score"] == pytest.approx(score, rel=0, abs=1e-13)  # the loss is logged in float32
    assert trainer.callback_metrics["val/score"].dtype == torch.float64  # float32 would lose the share of the loss


# --- from a checkpoint, without a trainer ---


def test_a_module_is_read_from_a_checkpoint_as_any_of_lightnings(tiny_run, recwarn):
    net = PEClip.from_pretrained(tiny_run)
    found = {name: value.clone() for name, value in net.trainable_state().items()}
    with torch.no_grad():
        for weight in net.trainable_state().values():
            weight.zero_()
    path = tiny_run / "checkpoints/best.ckpt"
    module = PEClipModule.load_from_checkpoint(path, map_location="cpu", weights_only=True, net=net, lr_adapters=0.5)
    assert module.lr_adapters == 0.5
    assert not [each for each in recwarn if "not in the checkpoint" in str(each.message)]
    assert all(torch.equal(value, found[name]) for name, value in module.net.trainable_state().items())
