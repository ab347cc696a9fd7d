"""Mistakes in options and configurations: one line each, status 2, and nothing half done."""

import os
import stat

import pytest
import torch
import yaml

from tests.bad_input.mistakes import assert_no_run, assert_refused, change
from tests.runs import run


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--data.batch_size", "0", "data.batch_size is 0"),
        ("--data.num_frames", "0", "data.num_frames is 0"),
        ("--data.num_workers", "-1", "data.num_workers is -1"),
        ("--data.val", "1.5", "data.val is 1.5"),
        ("--data.val", "tset", "data.val"),
        ("--data.fold", "3", "data.fold 3 does not exist"),
        ("--data.augment.flip", "2", "data.augment.flip is 2"),
        ("--data.mix.fmix", "0.9", "data.mix.fmix"),
        ("--model.net.normalize", "imagenet", "model.net.normalize"),
        ("--data.num_frames", "100000000", "data.num_frames is 100000000, expected at most 10000"),
        ("--data.num_frames", "2.5", "data.num_frames: expected int. Got value: 2.5; see peclip fit --help"),
        ("--model.lr_adapters", "-1", "model.lr_adapters is -1"),
        ("--model.net.prompts.init_args.depth", "3", "depth is 3"),
        ("--model.net.prompts.init_args.depth", "0", "depth is 0"),
        ("--model.net.logit_scale", "0", "model.net.logit_scale is 0"),
        ("--model.net.texts", "poems", "texts"),
        ("--model.net.num_frames", "0", "model.net.num_frames is 0"),
        ("--model.net.without", "[vision.mpl]", "model.net.without names 'vision.mpl'"),
        ("--model.net.adapters.vision.mlp", "my.Gate", '--model.net.adapters \'{"vision.mlp": {class_path: my.Gate'),
        ("--model.net.adapters.text.mlp[1:2].reduction", "4", '\'{"text.mlp[1:2]": {class_path: CLASS,'),
        ("--trainer.max_epochs", "many", "trainer.max_epochs"),
        ("--trainer.precision", "8", "trainer.precision"),
        ("--trainer.max_epochs", "-1", "trainer.max_epochs"),
        ("--trainer.accelerator", "abacus", "abacus"),
        ("--trainer.devices", "abc", "trainer.devices abc"),
        ("--trainer.accumulate_grad_batches", "0", "trainer.accumulate_grad_batches is 0"),
        ("--trainer.limit_train_batches", "0", "trainer.limit_train_batches is 0"),
        ("--trainer.use_distributed_sampler", "true", "trainer.use_distributed_sampler is true"),
        ("--trainer.gradient_clip_val", "-1", "trainer.gradient_clip_val is -1"),
        ("--checkpoint.monitor", "val/wra", "checkpoint.monitor is 'val/wra', expected one of val/score, val/war"),
        ("--name", "../../x", "name is '../../x'"),
        ("--name", "", "name is ''"),
        ("--ckpt_path", "", "ckpt_path is empty: name last, a run or a .ckpt, or omit it"),
        ("--init_from", "", "init_from is empty: name a run, a .ckpt, a package or its Hub id, or a released .pth,"),
        ("--ckpt_pat", "last", "unrecognized arguments: --ckpt_pat=last"),
        ("--model", "null", "model is 'null', expected options below it or the name of a file"),
        ("--seed_everything", "minus one", "seed_everything"),
        ("--seed_everything", "-1", "seed_everything is -1, expected 0 to 4294967295"),
        ("--seed_everything", "99999999999", "seed_everything is 99999999999"),
        ("--seed_everything", "false", "seed_everything is 'false', expected 0 to 4294967295: every run has a seed"),
        (
            "--trainer.logger",
            "tensorbord",
            "trainer.logger is tensorbord, expected wandb, tensorboard, mlflow, false, or",
        ),
        (
            "--model.lr_temporal",
            "0.1",
            "model.lr_temporal has no effect, because the model trains no temporal head: omit",
        ),
        (
            "--trainer.callbacks",
            "[Stopping]",
            "trainer.callbacks names 'Stopping', expected the import path of a subclass",
        ),
        (
            "--model.optimizer",
            "Adamm",
            "names 'Adamm', expected the import path of a subclass of Optimizer",
        ),
        ("--folder", "http://x.y/z", "folder is the address http://x.y/z, expected a folder of this machine"),
        ("--checkpoint.dirpath", "http://x.y/z", "checkpoint.dirpath is the address 'http://x.y/z', expected a folder"),
        ("--data.bach_size", "4", "data.bach_size"),
        ("--learning_rate", "1", "learning_rate"),
        ("--config", "nowhere.yaml", "nowhere.yaml"),
        ("--model.net.adapters", '{"vision.mlp": {class_path: no_such_module.Gate}}', "put its folder on PYTHONPATH"),
    ],
)
def test_an_option_that_cannot_be(option, value, says, place, config):
    assert_refused(run("fit", "--config", config, f"{option}={value}"), says)
    assert_no_run(place)


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        (
            "model.loss",
            "torch.nn.CrossEntropyLos",
            "names 'torch.nn.CrossEntropyLos', which cannot be imported (module 'torch.nn' has no attribute 'CrossEntropyLos'), "
            + "expected a subclass of Module: did you mean torch.nn.CrossEntropyLoss?",
        ),
        (
            "model.optimizer",
            "torch.optim.Qqqqq",
            "names 'torch.optim.Qqqqq', which cannot be imported (module 'torch.optim' has no attribute 'Qqqqq'), "
            + "expected a subclass of Optimizer: omit it",
        ),
        (
            "model.optimizer",
            "Adamm",
            "names 'Adamm', expected the import path of a subclass of Optimizer: did you mean Adam?",
        ),
    ],
)
def test_a_misspelt_class_is_one_whole_line(option, value, line, place, config):
    assert run("fit", "--config", config, f"--{option}={value}").err == f"peclip: error: {option} {line}\n"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("test", "--model", "."), "--model .: the trained model is --ckpt_path ."),
        (("test", "--checkpoint", "best.ckpt"), "--checkpoint best.ckpt: the trained model is --ckpt_path best.ckpt"),
        (("fit", "--model=."), "--model .: the trained model is --init_from ."),
        (
            ("predict", "runs/a"),
            "unrecognized arguments: runs/a (the trained model is --ckpt_path runs/a); see peclip predict --help",
        ),
        (
            ("fit", "--lr", "1"),
            "unrecognized arguments: --lr 1 (did you mean --model.lr_adapters?); see peclip fit --help",
        ),
        (("fit", "demo"), "unrecognized arguments: demo (did you mean --config demo?); see peclip fit --help"),
        (
            ("export", "runs/a", "package"),
            "unrecognized arguments: package (did you mean --out package?); see peclip export --help",
        ),
        (
            ("bench", "train", "runs/a"),
            "unrecognized arguments: runs/a (did you mean --model runs/a?); see peclip bench train --help",
        ),
        (
            ("prepare", "dfew", "/data/DFEW"),
            "unrecognized arguments: /data/DFEW (did you mean --root /data/DFEW?); see peclip prepare --help",
        ),
    ],
)
def test_a_mistaken_option_names_the_one_that_was_meant(command, says, place):
    assert run(*command).err == f"peclip: error: {says}\n"


def test_a_class_without_an_argument_that_it_needs_names_it(place, config):
    for option in (
        ("--trainer.callbacks+", "EarlyStopping"),
        ("--trainer.callbacks", '[{"class_path": "EarlyStopping"}]'),
    ):
        result = run("fit", "--config", config, *option)
        line = (
            "trainer.callbacks: EarlyStopping needs monitor, as in --trainer.callbacks.monitor VALUE; see peclip --help"
        )
        assert result.err == f"peclip: error: {line}\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--trainer.limit_val_batches", "x"], "trainer.limit_val_batches: expected int or float. Got value: x"),
        (["--data.val", "x"], "data.val: expected float or test. Got value: x"),
        (
            ["--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.patience", "x"],
            "trainer.callbacks.patience: expected int. Got value: x",
        ),
        (
            ["--trainer.logger", "WandbLogger", "--trainer.logger.offline", "x"],
            "trainer.logger.offline: expected bool. Got value: x",
        ),
        (
            ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dri", "x"],
            "trainer.logger has no option save_dri",
        ),
        (["--trainer.strategy", "DDPStrategy", "--trainer.strategy.port", "1"], "trainer.strategy has no option port"),
        (
            ["--trainer.callbacks", "[{class_path: EarlyStopping, init_args: {monitor: val/war, patience: x}}]"],
            "trainer.callbacks: patience: expected int. Got value: x, in [{'class_path': 'EarlyStopping', 'init_args': "
            + "{'monitor': 'val/war', 'patience': 'x'}}]",
        ),
        (
            ["--model.net.adapters", "{text.mlp: {class_path: peclip.model.TextAdapter, init_args: {r: 8}}}"],
            "model.net.adapters: there is no option r in "
            + "{'text.mlp': {'class_path': 'peclip.model.TextAdapter', 'init_args': {'r': 8}}}",
        ),
        (["--trainer.callbacks", "3"], "trainer.callbacks: expected list or an import path. Got value: 3"),
        (
            ["--trainer.callbacks", "[EarlyStopping, 3]"],
            "trainer.callbacks: expected the class path of a Callback. Got value: ['EarlyStopping', 3]",
        ),
        (
            ["--model.net.adapters", "{vision.mlp: 3}"],
            "model.net.adapters: expected an import path. Got value: 3, in {'vision.mlp': 3}",
        ),
    ],
)
def test_a_value_that_has_none_of_the_types_of_its_option_is_refused_in_plain_words(options, says, place, config):
    assert run("fit", "--config", config, *options).err == f"peclip: error: {says}; see peclip fit --help\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(place, config):
    assert_refused(run("fit", "--config", config, "--trainer.accelerator", "gpu"), "trainer.accelerator gpu")
    assert_no_run(place)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"data__bach_size": 4}, "data.bach_size"),
        ({"model__net__adaptors": {"vision.mlp": None}}, "adaptors"),
        ({"modle": {"lr_adapters": 1e-3}}, "modle"),
        ({"trainer__max_epoch": 3}, "max_epoch"),
        ({"model__net__adapters": {"vision.mpl": {"class_path": "peclip.model.SharedAdapter"}}}, "'vision.mpl'"),
        ({"model__net__adapters": {"vision.mlp[5:9]": {"class_path": "peclip.model.SharedAdapter"}}}, "[5:9]"),
        ({"model__net__adapters": {"vision.mlp": {"class_path": "peclip.model.SharedAdaptor"}}}, "SharedAdaptor"),
        (
            {"model__net__adapters": {"text.mlp": {"class_path": "peclip.model.TextAdapter", "init_args": {"r": 8}}}},
            "text.mlp",
        ),
        (
            {
                "model__net__adapters": {
                    "text.mlp": {"class_path": "peclip.model.TextAdapter", "init_args": {"reduction": 99}}
                }
            },
            "reduction is 99",
        ),
        ({"model__net__prompts": {"class_path": "peclip.model.SharedAdapter"}}, "prompts"),
        ({"model__net__adapters": {}, "model__net__prompts": None}, "nothing to train"),
        (
            {"model__net__adapters": ["vision.mlp"]},
            "model.net.adapters: expected dict. Got value: ['vision.mlp']; see",
        ),
        (
            {
                "model__net__adapters": {
                    "vision.mlp": {
                        "class_path": "peclip.model.TemporalDynamicAdapter",
                        "init_args": {"rnn": "mamba"},
                    }
                }
            },
            "model.net.adapters: rnn: expected one of 'gru', 'lstm', 'rnn'. Got value: mamba",
        ),
        (
            {"model__net__texts": {"happiness": " ", "sadness": "b", "anger": "c"}},
            "model.net.texts has an empty text for 'happiness'",
        ),
        (
            {"model__net__texts": {"happiness": "a", "sadness": "a", "anger": "c"}},
            "model.net.texts has the same text for 'happiness' and 'sadness'",
        ),
        ({"model__net__texts": {"happiness": "a" * 400, "sadness": "b", "anger": "c"}}, "model.net.texts: 'aaa"),
    ],
)
def test_a_configuration_that_cannot_be(entry, says, place, config):
    assert_refused(run("fit", "--config", change(config, **entry)), says)
    assert_no_run(place)


@pytest.mark.parametrize(
    "text",
    [
        "data: [",
        "just words",
        "",
        "data: !!python/object/apply:os.system ['touch ran']",
        "- a\n- list\n",
        "\tdata: 1\n",
        "data:\n  num_frames: 3\n num_workers: 1\n",
        "data:\n",
        "model: yes please\n",
    ],
)
def test_a_file_that_is_no_configuration(text, place, config):
    (place / "bad.yaml").write_text(text)
    assert_refused(run("fit", "--config", config, "--config", "bad.yaml"), "bad.yaml")
    assert_refused(run("fit", f"--config={config}", "--config=bad.yaml"), "bad.yaml")
    assert not (place / "ran").exists()
    assert_no_run(place)


def test_a_configuration_that_is_not_named(place):
    assert_refused(run("fit", "--config"), "--config: no file follows it")
    assert_refused(run("fit", "--config", "--data.num_frames", "3"), "--config: no file follows it")


STRANGE = [
    {"class_path": "os.system", "init_args": {"command": "touch ran"}},
    {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "ran"]}},
    {"class_path": "torch.nn.Linear"},
]


@pytest.mark.parametrize("spec", [*STRANGE, "os.system"], ids=["function", "class", "module", "name"])
@pytest.mark.parametrize(
    "key",
    [
        "model.net.prompts",
        "model.net.adapters.vision.mlp",
        "trainer.logger",
        "trainer.callbacks",
        "trainer.strategy",
        "trainer.profiler",
        "trainer.plugins",
    ],
)
def test_a_class_of_another_kind_or_a_function_is_refused_and_not_run(key, spec, place, config):
    *path, last = key.replace("vision.mlp", "vision-mlp").split(".")
    value = [spec] if last == "callbacks" else spec
    part = {last.replace("-", "."): value}
    for name in reversed(path):
        part = {name: part}
    (place / "strange.yaml").write_text(yaml.safe_dump(part))
    result = run("fit", "--config", config, "--config", "strange.yaml", "--trainer.max_epochs", "1")
    assert_refused(result, key.removesuffix(".vision.mlp").rpartition(".")[2])
    assert not (place / "ran").exists()
    assert_no_run(place)


@pytest.mark.parametrize(("folder", "says"), [("config.yaml", "is a file"), ("data", "is not empty")])
def test_a_folder_for_the_run_that_is_taken(folder, says, place, config):
    before = sorted(place.rglob("*"))
    assert_refused(run("fit", "--config", config, "--folder", folder), f"folder {folder} {says}", "name a new")
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        "fit --config {}",
        "test --ckpt_path {}",
        "compare {} b",
        "export {} --out o",
        "prepare folders --root {} --out x.csv",
    ],
)
def test_a_name_that_is_too_long_for_a_file_is_said(command, place):
    assert_refused(run(*command.format("n" * 300).split()), "n" * 300, "File name too long")


def test_an_unknown_command(place):
    assert_refused(run("train"), "unknown command 'train'", "fit", "predict", "peclip --help")


def test_a_folder_for_runs_that_cannot_be_written(place, config):
    (place / "runs").write_text("a file where the folder should be")
    assert_refused(run("fit", "--config", config), "runs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_for_runs_without_permission(place, config):
    (place / "runs").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    assert_refused(run("fit", "--config", config), "runs")


@pytest.mark.parametrize("command", [("faces", "m.csv"), ("pack", "m.csv"), ("embed", "m.csv", "--model", "m")])
def test_a_file_where_a_folder_is_expected_is_said_first(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_text("path,label\na.mp4,fear\n")
    assert_refused(run(*command, "--out", "m.csv"), "m.csv cannot be written: m.csv is a file, expected a folder")


def test_videos_behind_a_list_and_names_with_a_dash_get_advice():
    result = run("recognize", "--labels", "fear,anger", "a.mp4", "--backbone", "demo")
    assert_refused(
        result, "arguments are required: videos. Name what is read before options with several values, such as --labels"
    )
    result = run("recognize", "a.mp4", "-dash.mp4", "--backbone", "demo")
    assert_refused(result, "unrecognized arguments: -dash.mp4 (a file of that name is written ./-dash.mp4)")
