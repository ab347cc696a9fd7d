import json

import pytest
import yaml

from peclip.errors import InputError
from peclip.results.card import card, is_record, record

SETTINGS = {
    "seed_everything": 7,
    "trainer": {"max_epochs": 3, "precision": "32-true", "logger": {"class_path": "CSVLogger"}},
    "model": {"lr": 0.001, "net": {"backbone": "demo"}},
    "data": {"benchmark": "dfew", "root": "/home/me/DFEW", "fold": 2, "val": "test", "batch_size": 8},
}
SCORES = {
    "split": "test",
    "clips": 40,
    "selection": "test",
    "war": 0.5,
    "uar": 0.25,
    "per_class_recall": {"anger": 0.5, "fear": None},
    "zero_shot": {"clips": 40, "war": 0.125, "uar": 0.1, "per_class_recall": {"anger": 0.2, "fear": None}},
}
CONFIG = {
    "backbone": "openai/clip-vit-base-patch16",
    "labels": ["anger", "fear"],
    "texts": {"anger": "Brow | Lowerer.\n", "fear": "Jaw Drop."},
    "input": {"num_frames": 16, "image_size": 224, "normalize": "clip"},
    "dtype": "bf16",
    "run": None,
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    (tmp_path / "metrics.json").write_text(json.dumps(SCORES))
    return tmp_path


def test_a_run_tells_its_data_its_protocol_its_training_and_its_scores(run):
    assert record(run) == {
        "data": {"source": "dfew", "fold": 2, "val": "test"},
        "training": {"max_epochs": 3, "precision": "32-true", "batch_size": 8, "lr": 0.001, "seed": 7},
        "scores": SCORES,
    }


def test_of_a_manifest_the_name_is_told_and_not_where_it_lies(run):
    settings = SETTINGS | {"data": {"manifest": "/home/me/private/mine.csv"}}
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    assert record(run)["data"] == {"source": "mine.csv"}


def test_a_folder_that_is_no_run_tells_nothing(tmp_path):
    assert record(tmp_path) is None
    assert is_record(None)


@pytest.mark.parametrize(("name", "content"), [("config.yaml", "a: [1"), ("metrics.json", "{"), ("metrics.json", "[]")])
def test_a_torn_file_of_a_run_is_named(run, name, content):
    (run / name).write_text(content)
    with pytest.raises(InputError, match=f"{name} is torn: ") as told:
        record(run)
    assert "\n" not in str(told.value)


def test_a_card_is_filled_in(run):
    text = card(CONFIG | {"run": record(run)}, 9_399_564, 18_800_000)
    head = yaml.safe_load(text.split("---")[1])
    assert head["base_model"] == "openai/clip-vit-base-patch16"
    assert head["library_name"] == "peclip"
    for line in (
        "9,399,564 parameters, bf16, 18.8 MB",
        "16 frames of a clip",
        "| anger | Brow \\| Lowerer. |",
        "| source | dfew |",
        "| fold | 2 |",
        "**The checkpoint was chosen on the clips that it was tested on (`val: test`): the scores are optimistic.**",
        "On 40 test clips:",
        "| | PE-CLIP | zero-shot CLIP |",
        "| WAR | 50.00% | 12.50% |",
        "| UAR | 25.00% | 10.00% |",
        "| recall fear | no clip | no clip |",
        "| lr | 0.001 |",
    ):
        assert line in text


def test_what_is_not_known_is_said_to_be_so():
    text = card(CONFIG, 10, 40)
    assert "Not measured." in text
    assert text.count("Not known.") == 2


@pytest.mark.parametrize("backbone", ["demo", "/home/me/clip"])
def test_only_a_backbone_of_the_hub_is_linked(backbone):
    assert "base_model" not in card(CONFIG | {"backbone": backbone}, 10, 40)
