"""A run keeps its record: what differs when it resumes is refused by name, or applied and recorded from its step on."""

import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from peclip.errors import InputError
from peclip.results.evaluation import METRICS
from peclip.results.options import OPTIONS, OptionChange, read_changes, write_changes
from peclip.train.callbacks.resumed import Resumed
from peclip.train.runs.checkpoints import BestCheckpoint
from peclip.train.runs.record import changes_on_resuming, mixed_results, repeats_steps
from peclip.train.runs.resume import Interrupted
from tests.runs import run, trained, write_config, write_data

pytestmark = pytest.mark.usefixtures("blank_pictures")

BEFORE = {
    "seed_everything": 0,
    "trainer": {"max_epochs": 6, "max_steps": -1, "precision": "32-true", "devices": 1, "callbacks": None},
    "model": {"lr_adapters": 2e-4, "lr_prompts": 3e-5, "schedule": "cosine", "lr_scheduler": None,
              "net": {"num_frames": 16, "texts": "names"}},
    "data": {"manifest": "a.csv", "labels": ["a", "b"], "batch_size": 4, "num_workers": 2, "on_error": "raise"},
    "checkpoint": {"monitor": "val/score"},
}  # fmt: skip

KNOWN = {"options": BEFORE, "order": {"data.batch_size times devices": 4}, "clips": {"training": "1"}}


def changed(**values):
    """The options with others of these names; ``data__val`` is ``data.val``."""
    options = deepcopy(BEFORE)
    for name, value in values.items():
        *sections, last = name.split("__")
        part = options
        for section in sections:
            part = part[section]
        part[last] = value
    return options


def at_step(folder, **attributes):
    """A run that was interrupted in its fourth epoch."""
    attributes = {"checkpoint": folder / "last.ckpt", "steps": 15, "epochs": 3, "state": KNOWN} | attributes
    return Interrupted(folder, **attributes)


def found(folder, options, allowed=False, **attributes):
    changes = changes_on_resuming(at_step(folder, **attributes), options, BEFORE, allowed)
    return {change.option: (change.before, change.now) for change in changes}


# --- which options may differ ---


def test_a_refusal_names_the_configuration_that_has_the_options_of_the_run(tmp_path):
    (tmp_path / OPTIONS).write_text("")
    with pytest.raises(InputError) as caught:
        found(tmp_path, changed(model__net__num_frames=8))
    assert f"resume with the same (add --config {tmp_path / 'config.yaml'}), or start a new run" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed_everything", 1),
        ("trainer__precision", "bf16-mixed"),
        ("model__net__num_frames", 8),
        ("data__batch_size", 8),
        ("data__labels", ["b", "a"]),
        ("checkpoint__monitor", "val/uar"),
        ("trainer__new_option", 1),
    ],
)
def test_what_would_mix_two_trainings_is_refused_by_name(option, value, tmp_path):
    dotted = option.replace("__", ".")
    with pytest.raises(
        InputError, match=rf"{dotted} .* \(now .*\): resume with the same, or start a new run"
    ) as caught:
        found(tmp_path, changed(**{option: value}), allowed=True)
    assert "\n" not in str(caught.value)


APPLIED = [
    ("model__lr_adapters", 2e-3),
    ("trainer__max_epochs", 5),
    ("data__on_error", "skip"),
    ("model__schedule", "step"),
]


@pytest.mark.parametrize(("option", "value"), APPLIED)
def test_what_applies_to_steps_to_come_needs_an_option(option, value, tmp_path):
    options, dotted = changed(**{option: value}), option.replace("__", ".")
    with pytest.raises(InputError, match=rf"{dotted} .*set --allow_changes true to change this from step 15 on"):
        found(tmp_path, options)
    assert list(found(tmp_path, options, allowed=True)) == [dotted]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("data__num_workers", 0),
        ("trainer__devices", 2),
        ("trainer__max_epochs", 9),
        ("trainer__max_epochs", -1),
        ("data__manifest", "/other/disk/a.csv"),
        ("trainer__callbacks", [{"class_path": "lightning.pytorch.callbacks.RichProgressBar"}]),
    ],
)
def test_what_does_not_affect_the_result_and_more_epochs_need_none(option, value, tmp_path):
    expected = [] if option == "trainer__callbacks" else [option.replace("__", ".")]
    assert list(found(tmp_path, changed(**{option: value}))) == expected


def test_an_evaluation_that_has_failed_after_the_training_may_have_other_options(tmp_path):
    options = changed(trainer__max_epochs=3, data__on_error="skip")
    before = KNOWN | {"options": changed(trainer__max_epochs=3)}
    with pytest.raises(InputError, match="set --allow_changes true"):
        found(tmp_path, options, state=before)
    assert list(found(tmp_path, options, allowed=True, state=before)) == ["data.on_error"]
    (tmp_path / METRICS).write_text("{}")
    with pytest.raises(InputError, match="it is finished, so nothing of this would apply"):
        found(tmp_path, options, allowed=True, state=before)


@pytest.mark.parametrize("limits", [{"trainer__max_epochs": 3}, {"trainer__max_steps": 15}])
def test_a_single_checkpoint_at_the_end_of_its_training_is_not_continued(limits, tmp_path):
    options, (option, value) = changed(**limits), next(iter(limits.items()))
    before = KNOWN | {"options": options}
    assert found(tmp_path, options, state=before) == {}  # the run itself is reported again
    says = rf"last\.ckpt has reached {option.replace('__', '.')} {value}, so nothing would be trained: raise .* peclip test$"
    with pytest.raises(InputError, match=says):
        found(tmp_path, options, state=before, in_place=False, at_start=True)
    more = {option: value + 1}
    assert found(tmp_path, changed(**more), state=before, in_place=False, at_start=True)


def test_the_clips_of_a_step_may_be_spread_over_other_devices(tmp_path):
    assert len(found(tmp_path, changed(data__batch_size=2, trainer__devices=2))) == 2


def test_another_place_of_the_clips_is_allowed_by_the_user_where_no_digest_is_known(tmp_path):
    state = {"options": BEFORE, "order": {}}
    with pytest.raises(InputError, match="set --allow_changes true"):
        found(tmp_path, changed(data__manifest="b.csv"), state=state)
    assert found(tmp_path, changed(data__manifest="b.csv"), allowed=True, state=state)


def test_a_schedule_of_ones_own_keeps_its_rates(tmp_path):
    own = changed(model__lr_scheduler={"class_path": "own.Schedule"})
    with pytest.raises(InputError, match=r"model.lr_adapters 0.0002 .now 0.002.: resume with the same, or"):
        found(
            tmp_path,
            own | {"model": own["model"] | {"lr_adapters": 2e-3}},
            allowed=True,
            state=KNOWN | {"options": own},
        )


def test_every_option_that_differs_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        found(tmp_path, changed(seed_everything=1, data__batch_size=3, model__lr_adapters=1), allowed=True)
    assert "seed_everything 0 (now 1), data.batch_size 4 (now 3): " in str(caught.value)


def test_labels_and_texts_that_are_not_stated_are_those_of_the_run(tmp_path):
    assert not found(tmp_path, changed(data__labels=None, model__net__texts="action_units"))


def test_options_of_a_module_of_ones_own_are_the_same_options(tmp_path):
    own = changed()
    own["model"] = {"class_path": "own.Module", "init_args": BEFORE["model"] | {"lr_adapters": 1.0}}
    before = own | {"model": {"class_path": "own.Module", "init_args": BEFORE["model"]}}
    with pytest.raises(InputError, match=r"model.init_args.lr_adapters 0.0002 \(now 1.0\): .*allow_changes"):
        found(tmp_path, own, state=KNOWN | {"options": before})


def test_another_module_is_refused(tmp_path):
    own = changed()
    own["model"] = {"class_path": "own.Module", "init_args": BEFORE["model"] | {"penalty": 0.5}}
    with pytest.raises(InputError, match=r"model.class_path own.Module \(now null\)"):
        found(tmp_path, changed(), allowed=True, state=KNOWN | {"options": own})
    with pytest.raises(InputError, match=r"model.class_path null \(now own.Module\), model.init_args.penalty null"):
        found(tmp_path, own, allowed=True)


# --- from which step on ---


@pytest.mark.parametrize(
    ("option", "same"), [("data.num_workers", True), ("data.root", True), ("model.lr_prompts", False)]
)
def test_steps_are_repeated_alike_unless_an_option_affects_them(option, same, tmp_path):
    earlier = OptionChange(5, "trainer.max_epochs", 3, 6)
    assert repeats_steps(at_step(tmp_path), [earlier, OptionChange(15, option, 0, 1)]) == same


def test_a_finished_run_does_not_change(tmp_path):
    with pytest.raises(InputError, match=r"it is finished, so nothing of this would apply: raise trainer.max_epochs"):
        found(tmp_path, changed(model__lr_adapters=2e-3), allowed=True, epochs=6)
    assert len(found(tmp_path, changed(model__lr_adapters=2e-3, trainer__max_epochs=9), allowed=True, epochs=6)) == 2
    assert found(tmp_path, changed(data__num_workers=0), epochs=6)


def test_a_run_without_a_checkpoint_may_begin_with_other_options(tmp_path):
    (tmp_path / OPTIONS).write_text(yaml.safe_dump(BEFORE))
    nothing = {"checkpoint": None, "steps": 0, "epochs": 0, "state": {}}
    with pytest.raises(InputError, match="allow_changes"):
        found(tmp_path, changed(data__batch_size=2), **nothing)
    assert found(tmp_path, changed(data__batch_size=2), allowed=True, **nothing) == {"data.batch_size": (4, 2)}


def test_a_change_is_agreed_once_and_counts_from_the_checkpoint_that_is_there(tmp_path):
    """After a step back, to the checkpoint before a change, it applies from there on."""
    earlier = [OptionChange(10, "data.num_workers", 2, 4), OptionChange(20, "model.lr_adapters", 2e-4, 2e-3)]
    write_changes(tmp_path, earlier)
    now = changes_on_resuming(at_step(tmp_path), changed(model__lr_adapters=2e-3), BEFORE, allowed=False)
    assert now == (earlier[0], OptionChange(15, "model.lr_adapters", 2e-4, 2e-3))
    assert changes_on_resuming(at_step(tmp_path), BEFORE, BEFORE, allowed=False) == (earlier[0],)


def test_a_run_at_the_checkpoint_that_it_continues_is_compared_with_what_it_began_with(tmp_path):
    """It is killed before its first checkpoint, again and again: what was changed on the way stays on record, in order."""
    began = changed(model__lr_adapters=2e-3)
    (tmp_path / OPTIONS).write_text(yaml.safe_dump(began))
    record = [OptionChange(10, "data.num_workers", 0, 2), OptionChange(15, "model.lr_adapters", 2e-4, 2e-3)]
    write_changes(tmp_path, record)
    run = at_step(tmp_path, at_start=True)
    assert changes_on_resuming(run, began, BEFORE, allowed=False) == tuple(record)
    for before, now in ((2e-3, 2e-4), (2e-4, 2e-3), (2e-3, 2e-4)):
        options = changed(model__lr_adapters=now)
        with pytest.raises(InputError, match=rf"lr_adapters {before} \(now {now}\): .*--allow_changes true"):
            changes_on_resuming(run, options, BEFORE, allowed=False)
        record.append(OptionChange(15, "model.lr_adapters", before, now))
        assert changes_on_resuming(run, options, BEFORE, allowed=True) == tuple(record)
        write_changes(tmp_path, record)


def test_a_run_of_an_earlier_version_is_compared_with_its_configuration(tmp_path):
    before = changed()
    del before["data"]["on_error"]
    (tmp_path / OPTIONS).write_text(yaml.safe_dump(before))
    assert found(tmp_path, changed(), state={}) == {}
    with pytest.raises(InputError, match=r"data.on_error raise \(now skip\)"):
        found(tmp_path, changed(data__on_error="skip"), state={})


def test_a_checkpoint_without_a_record_is_not_continued(tmp_path):
    with pytest.raises(InputError, match=r"the options of its training are not known.*--init_from .*last\.ckpt"):
        found(tmp_path, changed(), state={}, in_place=False)


def test_folds_are_trained_with_the_same_options():
    assert not list(mixed_results(BEFORE, changed(data__num_workers=0, data__manifest="b.csv")))
    assert [change.option for change in mixed_results(BEFORE, changed(trainer__max_epochs=9))] == ["trainer.max_epochs"]
    assert [change.option for change in mixed_results(BEFORE, changed(trainer__devices=2))] == ["trainer.devices"]


# --- with the command ---


@pytest.fixture
def copy(tmp_path, monkeypatch, tiny_run):
    """A copy of a finished run of two epochs, the latest of its name; returns its folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(tiny_run, "runs/tiny/version_0"))


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resume(config, *options, source="last"):
    return run("fit", "--config", config, "--ckpt_path", source, *options)


def assert_refused(result, *says):
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    for part in says:
        assert part in result.err


ROUTES = ("last", "runs/tiny/version_0", "runs/tiny/version_0/checkpoints/last.ckpt")


@pytest.mark.parametrize("source", ROUTES)
def test_other_options_leave_a_finished_run_as_it_is(source, copy, tiny_config):
    before = files_of(copy)
    result = resume(tiny_config, "--model.lr_adapters", "2e-3", source=source)
    assert_refused(result, "model.lr_adapters 0.0002 (now 0.002)", "it is finished")
    assert files_of(copy) == before
    assert [path.name for path in copy.parent.iterdir()] == ["version_0"]


@pytest.mark.parametrize("source", ROUTES)
def test_other_clips_are_refused(source, copy, tiny_config, tiny_clip, tmp_path):
    """The same clips in another order are other batches."""
    manifest = write_data(tmp_path / "data")
    config = write_config(tmp_path / "config.yaml", tiny_clip, manifest)
    more = ("--trainer.max_epochs", "3") if source.endswith(".ckpt") else ()  # which a new run continues
    assert resume(config, *more, source=source).status == 0  # they are the same, in another place
    header, first, second, *rest = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, second, first, *rest]) + "\n")
    before = files_of(copy)
    assert_refused(resume(config, *more, source=source), "manifest.csv has other training clips than", "or their order")
    assert files_of(copy) == before


def groups_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)["optimizer_states"][0]["param_groups"]


@pytest.mark.slow
def test_a_change_that_is_allowed_is_applied_recorded_and_resumed(copy, tiny_config):
    before = (copy / OPTIONS).read_bytes()
    options = ("--trainer.max_epochs", "3", "--model.lr_adapters", "2e-3", "--model.weight_decay", "0.5")
    assert_refused(resume(tiny_config, *options), "model.lr_adapters", "model.weight_decay", "--allow_changes true")
    result = resume(tiny_config, *options, "--allow_changes", "true")
    assert result.status == 0, result.err
    assert "From step 6 on: model.lr_adapters 0.002 (was 0.0002)" in result.out
    assert "Learning rates from step 6 on: adapters 0.00134 (was 0.00014)" in result.out
    assert (copy / OPTIONS).read_bytes() == before
    assert [(change.step, change.option, change.now) for change in read_changes(copy)] == [
        (6, "trainer.max_epochs", 3),
        (6, "model.lr_adapters", 2e-3),
        (6, "model.weight_decay", 0.5),
    ]
    adapters, prompts = groups_of(copy / "checkpoints/last.ckpt")
    assert [adapters["initial_lr"], prompts["initial_lr"], adapters["weight_decay"]] == [2e-3, 3e-5, 0.5]
    assert (copy / "ended_at_step_6/metrics.json").exists()
    assert resume(tiny_config, *options).status == 0  # it is known by now


def test_a_checkpoint_in_another_place_knows_its_options(copy, tiny_config):
    shutil.copy(copy / "checkpoints/best.ckpt", "mine.ckpt")
    options = ("--trainer.max_epochs", "3", "--name", "other")
    assert_refused(
        resume(tiny_config, *options, "--data.mix.mixup", "0", source="mine.ckpt"), "data.mix.mixup 0.4 (now 0"
    )
    made = trained(Path(), "--config", tiny_config, *options, "--ckpt_path", "mine.ckpt")
    assert yaml.safe_load((made / OPTIONS).read_text())["trainer"]["max_epochs"] == 3
    assert read_changes(made)[0].option == "trainer.max_epochs"


def test_the_precision_that_is_not_stated_is_that_of_the_run(copy, tiny_config, tmp_path):
    options = yaml.safe_load(tiny_config.read_text())
    del options["trainer"]["precision"]
    (tmp_path / "any.yaml").write_text(yaml.safe_dump(options))
    result = resume(tmp_path / "any.yaml")
    assert result.status == 0, result.err
    assert not read_changes(copy)


@pytest.mark.parametrize(("step", "known"), [(8, False), (10, True)])
def test_the_best_checkpoint_of_a_step_that_is_repeated_is_not_taken_for_an_earlier_one(step, known, copy):
    """A validation wrote it, and the run was killed before its own checkpoint."""
    best = copy / "checkpoints/best.ckpt"
    content = torch.load(best, weights_only=True)
    torch.save(content | {"global_step": 10}, best)
    (state,) = (value for name, value in content["callbacks"].items() if name.startswith("BestCheckpoint"))
    callback = BestCheckpoint(dirpath=best.parent, monitor="val/score", mode="max")
    callback.on_load_checkpoint(None, None, {"global_step": step})
    callback.load_state_dict(state)
    assert bool(callback.best_model_path) == known


def test_a_checkpoint_of_weights_alone_is_no_training(tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    short = ("--config", tiny_config, "--trainer.max_epochs", "1", "--model.zero_shot", "false")
    made = trained(tmp_path, *short, "--checkpoint.save_weights_only", "true")
    assert_refused(run("fit", *short, "--ckpt_path", made / "checkpoints/best.ckpt"), "start from it with --init_from")


def test_norms_stay_without_decay_and_a_head_follows_the_adapters():
    names = ("adapters", "temporal", "norms")
    groups = [
        {"name": name, "lr": 1e-4, "initial_lr": 1e-4, "weight_decay": 0.0 if name == "norms" else 0.1}
        for name in names
    ]
    rates = dict.fromkeys(names, 1e-4) | {"adapters": 5e-5, "temporal": 5e-5}
    module = SimpleNamespace(weight_decay=0.5, lr_scheduler=None, rates=rates, lr_temporal=None)
    trainer = SimpleNamespace(
        optimizers=[SimpleNamespace(param_groups=groups)], lr_scheduler_configs=[], is_global_zero=False
    )
    Resumed({"model.weight_decay", "model.lr_adapters"}, ended=False)._set_rates(trainer, module)
    assert [group["weight_decay"] for group in groups] == [0.5, 0.5, 0.0]
    assert [group["initial_lr"] for group in groups] == [5e-5, 5e-5, 1e-4]
    module.lr_temporal = 2e-4  # a rate of its own
    groups[1]["initial_lr"] = 2e-4
    Resumed({"model.lr_adapters"}, ended=False)._set_rates(trainer, module)
    assert groups[1]["initial_lr"] == 2e-4
