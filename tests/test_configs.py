"""Every configuration that comes with peclip runs by the command in its first line, on tiny data with a tiny CLIP."""

import json
import shlex
import sys
from functools import cache, partial
from pathlib import Path

import pytest
import torch
import yaml

from peclip.demo import tasks
from peclip.recipes import recipe_path
from tests.runs import trained, write_data
from tests.trees import TREES

pytestmark = pytest.mark.usefixtures("blank_pictures")

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
NAMES = [str(path.relative_to(ROOT)) for path in CONFIGS]

FAST = {
    "--trainer.accelerator": "cpu",
    "--trainer.max_epochs": 1,
    "--trainer.limit_train_batches": 1,
    "--trainer.limit_val_batches": 1,
    "--trainer.limit_test_batches": 1,
    "--trainer.num_sanity_val_steps": 0,
    "--data.num_workers": 0,
}


def command_of(path):
    """The command in the first line, as a list of words."""
    first = path.read_text().splitlines()[0]
    assert first.startswith("# peclip ")
    return shlex.split(first)[1:]


def configs_in(words):
    return [recipe_path(words[place + 1]) for place, word in enumerate(words) if word == "--config"]


def merged(words, *keys):
    """The value that the last of the command's configurations gives to a key."""
    value = None
    for path in configs_in(words):
        entry = yaml.safe_load(path.read_text())
        for key in keys[:-1]:
            entry = entry.get(key) or {}
        value = entry.get(keys[-1], value)
    return value


def test_the_known_configurations_are_found():
    known = {"demo", "demo_order", "ferv39k", "as_released"}
    assert known | {"no_tda", "no_sha", "no_ta", "no_maple", "text_names"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_a_configuration_opens_with_the_command_that_runs_it(path):
    words = command_of(path)
    assert words[1] in ("fit", "cv")
    assert path in configs_in(words)
    assert "--data.root" in words or merged(words, "data", "root"), "a training needs clips"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Makes a small copy of a benchmark, or of a demo, once, and returns its folder."""
    folder = tmp_path_factory.mktemp("benchmarks")
    drawn = dict(tasks.TASKS)
    for name, draw in drawn.items():
        small = partial(draw, train=2, test=1, frames=4, size=32)
        tasks.TASKS[name] = small
    made = {}

    def make(benchmark):
        if benchmark not in made:
            made[benchmark] = folder / benchmark
            if benchmark in TREES:
                TREES[benchmark](made[benchmark])
            elif benchmark == "folders":
                write_data(made[benchmark], labels=["brush_hair", "ClimbStairs"])
        return made[benchmark]

    yield make
    tasks.TASKS.update(drawn)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory, data, tiny_clip):
    """Runs a configuration by its own command, once, and returns the folder of the run; not to be written to."""

    @cache
    def start(path, *overlays):
        words = command_of(path)[2:]
        words += [word for overlay in overlays for word in ("--config", str(overlay))]
        if "--data.root" in words:
            place = words.index("--data.root")
            words[place : place + 2] = []
        words += ["--data.root", str(data(merged(words, "data", "benchmark")))]
        options = FAST | {"--model.net.backbone": tiny_clip}
        if command_of(path)[1] == "cv":
            options["--data.fold"] = 1
        return trained(
            tmp_path_factory.mktemp("run"), *words, *(str(word) for option in options.items() for word in option)
        )

    return start


@pytest.fixture(autouse=True)
def ended_by_wandb():
    """End the run of W&B, which would print its summary in the next process of the tests."""
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


def model_of(folder):
    """Return the entries of a run's checkpoint about its model."""
    return torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["peclip"]


def classes_of(model):
    return {site: _name(spec) for site, spec in model["adapters"].items()}


def _name(spec):
    return spec["class_path"].rpartition(".")[2]


ALL = {
    "vision.attention": "SharedAdapter",
    "vision.mlp": "TemporalDynamicAdapter",
    "text.attention": "SharedAdapter",
    "text.mlp": "TextAdapter",
}


LEFT_OUT = {"no_tda": ["vision.mlp"], "no_sha": ["vision.attention", "text.attention"], "no_ta": ["text.mlp"]}


IN_SHORT = ("demo", "ferv39k", "as_released", "folders", "no_maple", "lora", "siglip", "tensorboard")
"""Configurations that train in ``make test``, one of each kind; ``make slow`` trains all the others."""


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[] if path.stem in IN_SHORT else [pytest.mark.slow]) for path in CONFIGS],
    ids=NAMES,
)
def test_a_configuration_trains_and_does_what_its_name_says(path, run_of):
    folder = run_of(path)
    metrics, model = json.loads((folder / "metrics.json").read_text()), model_of(folder)
    assert metrics["clips"] > 0
    assert metrics["selection"] == ("test" if path.stem == "as_released" else "validation")
    left_out = LEFT_OUT.get(path.stem, [])
    stated = (
        yaml.safe_load(path.read_text())["model"]["net"] if path.parent.name == "parts" or path.stem == "strong" else {}
    )
    adapters = stated.get(
        "adapters", {site: {"class_path": name} for site, name in ALL.items() if site not in left_out}
    )
    assert classes_of(model) == {site: _name(spec) for site, spec in adapters.items()}
    assert (model["prompts"] is None) == (stated.get("prompts", path.stem != "no_maple") in (None, False))
    assert (model["texts"] == {label: label for label in model["labels"]}) == (path.stem == "text_names")


@pytest.mark.parametrize(
    "name",
    [
        "no_tda",
        *(pytest.param(name, marks=pytest.mark.stress) for name in ("no_sha", "no_ta", "no_maple", "text_names")),
    ],
)
def test_an_ablation_combines_with_the_recipe_and_with_the_released_way(name, run_of):
    folder = run_of(ROOT / "configs/as_released.yaml", ROOT / f"configs/ablations/{name}.yaml")
    model = model_of(folder)
    assert json.loads((folder / "metrics.json").read_text())["selection"] == "test"
    assert model["clip_format"]["std"] == [1.0, 1.0, 1.0]
    assert ("vision.mlp" in model["adapters"]) == (name != "no_tda")
    assert ("text.attention" in model["adapters"]) == (name != "no_sha")
    assert ("text.mlp" in model["adapters"]) == (name != "no_ta")
    assert (model["prompts"] is None) == (name == "no_maple")
    assert (model["texts"]["fear"] == "fear") == (name == "text_names")


def test_the_recipe_of_ferv39k_is_that_of_the_paper(run_of):
    config = yaml.safe_load((run_of(ROOT / "configs/ferv39k.yaml") / "config.yaml").read_text())
    shipped = yaml.safe_load((ROOT / "configs/ferv39k.yaml").read_text())
    assert shipped["trainer"]["max_epochs"] == 30
    assert shipped["model"]["net"] == {"backbone": "openai/clip-vit-base-patch16", "texts": "action_units"}
    model, data = config["model"], config["data"]
    assert (model["lr_adapters"], model["lr_prompts"], model["weight_decay"]) == (2e-4, 3e-5, 1e-2)
    assert (model["warmup_epochs"], model["warmup_lr"], model["net"]["logit_scale"]) == (3, 2e-5, 100)
    assert (data["batch_size"], model["net"]["num_frames"]) == (4, 16)
    assert data["augment"] == {
        "area": [0.08, 1.0], "aspect": [3 / 4, 4 / 3], "flip": 0.5, "rotation": 4.0, "brightness": 0.0
    }  # fmt: skip
    assert data["mix"] == {
        "mixup": 0.4, "fmix": 0.3, "mixup_alpha": 0.4, "mixup_range": [0.3, 0.7], "fmix_alpha": 1.0, "fmix_decay": 3.0
    }  # fmt: skip


def test_as_released_does_what_the_released_program_does(run_of):
    folder = run_of(ROOT / "configs/as_released.yaml")
    model = model_of(folder)
    assert model["adapters"]["vision.mlp"]["init_args"]["scope"] == "batch"
    for site in ("vision.attention", "text.attention", "text.mlp"):
        assert model["adapters"][site]["init_args"]["init"] == "default"
    assert model["clip_format"]["std"] == [1.0, 1.0, 1.0]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["trainer"]["precision"], config["data"]["val"]) == ("32-true", "test")
