"""Every mistake of a user gets one line that names the file, line or key, status 2, and leaves nothing half done."""

import os
import shutil
import stat
from functools import partial

import av
import pytest
import torch
import yaml

from peclip.cli import main
from tests.conftest import write_tokenizer
from tests.processes import called
from tests.runs import LABELS, run, write_config, write_data


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, under a name that no message holds by chance."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def data(place):
    """The manifest of three training and three test clips, to be broken."""
    return write_data(place / "data", {"train": 2, "test": 1})


@pytest.fixture
def config(place, tiny_clip, data):
    return write_config(place / "config.yaml", tiny_clip, data)


def change(config, **entries):
    """Change entries of a configuration; ``data__val=1`` is that of ``data: {val: 1}``."""
    content = yaml.safe_load(config.read_text())
    for name, value in entries.items():
        *path, last = name.split("__")
        part = content
        for key in path:
            part = part[key]
        part[last] = value
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    return config


def assert_refused(result, *says):
    """Check that stderr is one line with these texts, and the status 2."""
    assert result.err.count("\n") == 1, result.err
    assert result.err.startswith("peclip: error: ")
    for part in says:
        assert str(part) in result.err
    assert result.status == 2


def assert_no_run(place):
    """Check that no run has left a file or folder."""
    assert not (place / "runs").exists()


# --- data ---


def test_a_missing_root(place, config):
    assert_refused(run("fit", "--config", config, "--data.root", "nowhere"), "nowhere: no such folder")
    assert_no_run(place)


def test_a_missing_manifest(place, config):
    assert_refused(run("fit", "--config", config, "--data.manifest", "nowhere.csv"), "nowhere.csv: no such file")
    assert_no_run(place)


def test_no_source_at_all(place, config):
    assert_refused(run("fit", "--config", change(config, data__manifest=None)), "set data.manifest FILE")
    assert_no_run(place)


def test_a_root_that_is_no_benchmark(place, config):
    result = run("fit", "--config", config, "--data.root", "data", "--data.benchmark", "ferv39k")
    assert_refused(result, "data: not the released layout of FERV39K, expected")
    assert_no_run(place)


def test_an_unknown_benchmark(place, config):
    result = run("fit", "--config", config, "--data.root", "data", "--data.benchmark", "imagenet")
    assert_refused(result, "unknown benchmark 'imagenet'", "ferv39k")


def test_an_unknown_label(place, config, data):
    data.write_text(data.read_text().replace(",sadness,train", ",bored,train", 1))
    labels = ("--data.labels", "[happiness, sadness, anger]")
    assert_refused(run("fit", "--config", config, *labels), "manifest.csv line 4: unknown label 'bored'", *LABELS)
    assert_no_run(place)


def test_a_label_without_a_text(place, config, data):
    data.write_text(data.read_text().replace(",sadness,", ",bored,"))
    assert_refused(run("fit", "--config", config), "model.net.texts is missing 'bored'")
    assert_no_run(place)


def test_an_empty_class(place, config, data):
    lines = [line for line in data.read_text().splitlines() if not line.endswith(",anger,train")]
    data.write_text("\n".join(lines) + "\n")
    assert_refused(run("fit", "--config", config), "manifest.csv", "class 'anger' is empty")
    assert_no_run(place)


def test_an_empty_class_folder(place, config):
    shutil.rmtree(place / "data/train/anger")
    (place / "data/train/anger").mkdir()
    assert_refused(run("fit", "--config", config, "--data.root", "data"), "data/train/anger", "empty")
    assert_no_run(place)


def test_a_bad_column(place, config, data):
    data.write_text(data.read_text().replace("path,label,split", "path,emotion,split"))
    assert_refused(run("fit", "--config", config), "manifest.csv line 1: unknown column 'emotion'")
    assert_no_run(place)


def test_a_person_in_training_and_test(place, config, data):
    head, *lines = data.read_text().splitlines()
    data.write_text(
        "\n".join([f"{head},subject", *(f"{line},{'Anna' if n % 2 else 'Ben'}" for n, line in enumerate(lines))]) + "\n"
    )
    says = "manifest.csv line 2: subject 'Ben' is in train here and in test in manifest.csv line 8"
    assert_refused(run("fit", "--config", config), says, "peclip check")
    assert_no_run(place)


def test_a_bad_split(place, config, data):
    data.write_text(data.read_text().replace(",test", ",exam", 1))
    assert_refused(run("fit", "--config", config), "manifest.csv line 8: unknown split 'exam'")
    assert_no_run(place)


def test_a_clip_outside_the_folder_of_the_manifest(place, config, data):
    data.write_text(data.read_text() + "../secret.mp4,anger,train\n")
    assert_refused(run("fit", "--config", config), "manifest.csv line 11", "../secret.mp4", "data.allow_outside")
    assert_no_run(place)


def test_a_manifest_without_labels(place, config, data):
    data.write_text("path\n" + "".join(f"{line.split(',')[0]}\n" for line in data.read_text().splitlines()[1:]))
    assert_refused(run("fit", "--config", config), "manifest.csv has no labels", "at least two")
    assert_no_run(place)


def test_a_manifest_of_one_class(place, config, data):
    data.write_text("".join(line for line in data.read_text().splitlines(True) if "s," not in line))
    assert_refused(run("fit", "--config", config), "manifest.csv has only the label 'anger'", "at least two")
    assert_no_run(place)


def test_a_fold_that_leaves_nothing_to_train_on(place, config, data):
    data.write_text(data.read_text().replace("split", "fold").replace("train\n", "1\n").replace("test\n", "1\n"))
    result = run("fit", "--config", config, "--data.fold", "1")
    assert_refused(result, "manifest.csv has no training clips beside fold 1")
    assert_no_run(place)


def test_a_split_that_is_empty(place, config, data, tiny_run):
    data.write_text(data.read_text().replace(",test", ",train"))
    assert_refused(run("test", "--config", config, "--ckpt_path", tiny_run), "manifest.csv has no test clips")
    assert_no_run(place)


def no_video(path):
    path.write_text("not a video at all\n" * 100)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def without_frames(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        file.start_encoding()
    assert path.stat().st_size < 2000


def missing(path):
    path.unlink()


def unreadable(path):
    path.chmod(0)


BROKEN = [no_video, truncated, empty, without_frames, missing]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("break_it", BROKEN)
def test_a_clip_that_cannot_be_read(break_it, workers, place, config):
    broken = place / "data/train/sadness/3.mp4"
    break_it(broken)
    result = run("fit", "--config", config, "--data.num_workers", str(workers))
    assert_refused(result, broken, "manifest.csv line 4")
    assert_no_run(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_clip_without_permission(place, config):
    broken = place / "data/train/sadness/3.mp4"
    unreadable(broken)
    assert_refused(run("fit", "--config", config), broken, "permission")


@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_clip_that_cannot_be_evaluated(command, place, config, tiny_run):
    broken = place / "data/test/sadness/8.mp4"
    truncated(broken)
    result = run(command, "--config", config, "--ckpt_path", tiny_run)
    assert_refused(result, broken, "manifest.csv line 9")
    assert_no_run(place)


# --- options ---


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
        ("--trainer.max_epochs", "many", "trainer.max_epochs"),
        ("--trainer.precision", "8", "trainer.precision"),
        ("--trainer.max_epochs", "-1", "trainer.max_epochs"),
        ("--trainer.accelerator", "abacus", "abacus"),
        ("--trainer.devices", "abc", "trainer.devices abc"),
        ("--trainer.accumulate_grad_batches", "0", "trainer.accumulate_grad_batches is 0"),
        ("--trainer.limit_train_batches", "0", "trainer.limit_train_batches is 0"),
        ("--checkpoint.monitor", "val/wra", "checkpoint.monitor is 'val/wra', expected one of val/score, val/war"),
        ("--name", "../../x", "name is '../../x'"),
        ("--name", "", "name is ''"),
        ("--ckpt_path", "", "ckpt_path is empty"),
        ("--seed_everything", "minus one", "seed_everything"),
        ("--seed_everything", "-1", "seed_everything is -1, expected 0 to 4294967295"),
        ("--seed_everything", "99999999999", "seed_everything is 99999999999"),
        ("--seed_everything", "true", "seed_everything: expected int. Got value: True"),
        ("--seed_everything", "false", "seed_everything: expected int. Got value: False"),
        ("--folder", "http://x.y/z", "folder is the address http://x.y/z, expected a folder of this machine"),
        ("--checkpoint.dirpath", "http://x.y/z", "checkpoint.dirpath is the address 'http://x.y/z', expected a folder"),
        ("--data.bach_size", "4", "data.bach_size"),
        ("--learning_rate", "1", "learning_rate"),
        ("--config", "nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_an_option_that_cannot_be(option, value, says, place, config):
    assert_refused(run("fit", "--config", config, f"{option}={value}"), says)
    assert_no_run(place)


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


def test_an_unknown_command(place):
    assert_refused(run("train"), "unknown command 'train'", "fit", "predict", "peclip --help")


def test_a_folder_for_runs_that_cannot_be_written(place, config):
    (place / "runs").write_text("a file where the folder should be")
    assert_refused(run("fit", "--config", config), "runs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_for_runs_without_permission(place, config):
    (place / "runs").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    assert_refused(run("fit", "--config", config), "runs")


# --- backbones ---


def test_a_backbone_that_is_not_there(place, config):
    result = run("fit", "--config", config, "--model.net.backbone", "openai/clip-vit-base-patch16")
    assert_refused(result, "'openai/clip-vit-base-patch16'", "hf download openai/clip-vit-base-patch16", "demo")
    assert_no_run(place)


def test_a_folder_that_holds_no_backbone(place, config):
    (place / "clip").mkdir()
    write_tokenizer(place / "clip")
    assert_refused(run("fit", "--config", config, "--model.net.backbone", "clip"), "'clip'", "config.json")
    assert_no_run(place)


def test_a_torn_backbone(place, config, tiny_clip):
    shutil.copytree(tiny_clip, place / "clip")
    truncated(place / "clip/model.safetensors")
    assert_refused(run("fit", "--config", config, "--model.net.backbone", "clip"), "'clip'")
    assert_no_run(place)


# --- checkpoints ---


def torn(source, path):
    path.write_bytes(source.read_bytes()[:5000])


def flipped(source, path):
    raw = bytearray(source.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    path.write_bytes(raw)


def foreign(source, path):
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, path)


class Payload:
    def __reduce__(self):
        return os.system, ("touch ran",)


def malicious(source, path):
    torch.save({"state_dict": {}, "peclip": Payload()}, path)


def lacking(source, path):
    content = torch.load(source, weights_only=True)
    del content["state_dict"]["net.prompts.tokens.0"]
    torch.save(content, path)


def no_checkpoint(source, path):
    path.write_text("no checkpoint")


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("break_it", [torn, flipped, foreign, malicious, lacking, no_checkpoint])
def test_a_checkpoint_that_cannot_be_read(break_it, command, place, config, tiny_run):
    break_it(tiny_run / "checkpoints" / "last.ckpt", place / "broken.ckpt")
    result = run(command, "--config", config, "--ckpt_path", "broken.ckpt")
    assert_refused(result, "prompts.tokens.0" if break_it is lacking else "broken.ckpt")
    assert not (place / "ran").exists()
    assert_no_run(place)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_that_is_not_there(command, place, config):
    result = run(command, "--config", config, "--ckpt_path", "nowhere/best.ckpt")
    assert_refused(result, "nowhere/best.ckpt")
    assert_no_run(place)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_of_another_label_set(command, place, config, data, tiny_run):
    before = files_of(tiny_run)
    data.write_text(data.read_text().replace(",sadness,", ",fear,"))
    result = run(command, "--config", config, "--ckpt_path", tiny_run)
    says = (
        ("labels in the trained order", "happiness, anger, fear")
        if command == "fit"
        else ("unknown label 'fear'", "manifest.csv line")
    )
    assert_refused(result, "happiness, sadness, anger", *says)
    assert_no_run(place)
    assert files_of(tiny_run) == before


def test_a_training_that_resumes_with_other_class_texts(place, config, tiny_run):
    result = run("fit", "--config", config, "--ckpt_path", tiny_run, "--model.net.texts", "names")
    assert_refused(
        result, "tiny", "model.net.texts has 'happiness' for 'happiness'", "was trained with another class text, 'Cheek"
    )
    assert_no_run(place)


# --- in a process of its own ---


def test_a_process_says_one_line_and_ends_with_status_2(place, config):
    truncated(place / "data/train/sadness/3.mp4")
    result = called(place, partial(main, ["fit", "--config", str(config), "--data.num_workers", "1"]))
    assert_refused(result, "3.mp4", "manifest.csv line 4")
