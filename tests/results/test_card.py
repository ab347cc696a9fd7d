import json
from dataclasses import replace

import pytest
import yaml

from peclip.clip_format import UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.errors import InputError
from peclip.results.card import PackageFacts, RunRecord, card, read_run
from peclip.results.evaluation import Metrics

SETTINGS = {
    "seed_everything": 7,
    "trainer": {"max_epochs": 3, "precision": "32-true", "logger": {"class_path": "CSVLogger"}},
    "model": {"lr": 0.001, "net": {"backbone": "demo"}},
    "data": {"benchmark": "dfew", "root": "/home/me/DFEW", "fold": 2, "val": "test", "batch_size": 8},
}
SCORES = {
    "split": "test",
    "selection": "test",
    "benchmark": "dfew",
    "fold": 2,
    "skipped": 0,
    "trainable": 10,
    "parameters": 100,
    "clips": 40,
    "war": 0.5,
    "uar": 0.25,
    "per_class_recall": {"anger": 0.5, "fear": None},
    "zero_shot": {"clips": 40, "war": 0.125, "uar": 0.1, "per_class_recall": {"anger": 0.2, "fear": None}},
}
FACTS = PackageFacts(
    backbone="openai/clip-vit-base-patch16",
    labels=("anger", "fear"),
    texts={"anger": "Brow | Lowerer.\n", "fear": "Jaw Drop."},
    clip_format=ClipFormat(),
    parameters=9_399_564,
    dtype="bf16",
    size=18_800_000,
    method="ST-Adapter",
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    (tmp_path / "metrics.json").write_text(json.dumps(SCORES))
    return tmp_path


def test_a_run_tells_its_data_its_protocol_its_training_and_its_scores(run):
    found = read_run(run)
    assert found == RunRecord(
        data={"source": "dfew", "fold": 2, "val": "test"},
        training={"max_epochs": 3, "precision": "32-true", "batch_size": 8, "lr": 0.001, "seed": 7},
        scores=Metrics.from_json(SCORES, ""),
    )
    assert found.as_json()["scores"] == SCORES
    assert RunRecord.from_json(json.loads(json.dumps(found.as_json())), "run") == found


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<script>", "run is '<script>', expected an object"),
        ({"data": {}, "training": {}}, "run lacks scores"),
        ({"data": {"source": ["a"]}, "training": {}, "scores": None}, r"run: data source is \['a'\], expected a text"),
        ({"data": {}, "training": {}, "scores": {"clips": 1, "war": "high"}}, "run: scores: war is 'high'"),
        ({"data": {}, "training": {}, "scores": SCORES | {"war": 2}}, "run: scores: war is 2.0, expected 0 to 1"),
    ],
)
def test_what_peclip_does_not_write_is_no_record(content, says):
    with pytest.raises(InputError, match=says):
        RunRecord.from_json(content, "run")


def test_the_card_names_the_manifest_without_its_folder(run):
    settings = SETTINGS | {"data": {"manifest": "/home/me/private/mine.csv"}}
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    assert read_run(run).data == {"source": "mine.csv"}


def test_a_folder_that_is_no_run_tells_nothing(tmp_path):
    assert read_run(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.yaml", "a: [1"), ("config.yaml", "[]"), ("metrics.json", "{"), ("metrics.json", "[]")],
)
def test_a_torn_file_of_a_run_is_named(run, name, content):
    (run / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}( is damaged|.* not valid YAML|: expected| cannot be read)") as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


def test_a_card_is_filled_in(run):
    text = card(replace(FACTS, run=read_run(run)))
    head = yaml.safe_load(text.split("---")[1])
    assert head["base_model"] == "openai/clip-vit-base-patch16"
    assert head["library_name"] == "peclip"
    for line in (
        "9,399,564 parameters, bf16, 18.8 MB",
        "16 frames of a clip, the middle of as many equal segments; RGB, 224 x 224, CLIP's mean and standard deviation.",
        "| anger | Brow \\| Lowerer. |",
        "| source | dfew |",
        "| fold | 2 |",
        "**The checkpoint is chosen on the test clips (val: test), so the test result is optimistic.**",
        "On 40 test clips:",
        "# ST-Adapter for dynamic",
        "|  | model | zero-shot CLIP |",
        "| WAR | 50.00% | 12.50% |",
        "| UAR | 25.00% | 10.00% |",
        "| recall fear | no clip | no clip |",
        "| lr | 0.001 |",
    ):
        assert line in text


def test_a_card_says_that_validation_clips_of_the_selection_are_no_test_clips(run):
    record = read_run(run)
    scores = replace(record.scores, split="validation", selection="validation")
    text = card(replace(FACTS, run=replace(record, scores=scores)))
    assert "**The results are of the validation clips, which also choose the checkpoint" in text
    assert "the test clips" not in text


def test_what_is_not_known_is_said_to_be_so():
    text = card(FACTS)
    assert "Not measured." in text
    assert text.count("Not known.") == 2


@pytest.mark.parametrize(
    ("method", "tagged"), [("PE-CLIP", True), ("PE-CLIP without TDA", True), ("ST-Adapter", False)]
)
def test_only_pe_clip_and_what_is_left_of_it_is_tagged_so(method, tagged):
    head = yaml.safe_load(card(replace(FACTS, method=method)).split("---")[1])
    assert ("pe-clip" in head["tags"]) == tagged


@pytest.mark.parametrize("backbone", ["demo", "/home/me/clip"])
def test_only_a_backbone_of_the_hub_is_linked(backbone):
    assert "base_model" not in card(replace(FACTS, backbone=backbone))


def test_the_card_says_how_pixels_are_normalised():
    unit = ClipFormat(8, 32, UNIT_MEAN, UNIT_STD)
    assert "8 frames of a clip" in (text := card(replace(FACTS, clip_format=unit)))
    assert "32 x 32, pixels in [0, 1] as they are." in text
    assert "mean (0.5, 0.5, 0.5) and" in card(replace(FACTS, clip_format=ClipFormat(mean=(0.5, 0.5, 0.5))))


def test_a_limited_evaluation_is_reported_beside_its_scores(run):
    (run / "metrics.json").write_text(json.dumps(SCORES | {"limited": {"clips": 40, "of": 90}}))
    assert "On 40 test clips; limited to 40 of 90 clips:" in card(replace(FACTS, run=read_run(run)))


def test_a_card_shows_half_a_character_in_a_remark_by_its_code():
    scores = Metrics.from_json(SCORES | {"other_labels": {"\ud800": 3}}, "")
    text = card(replace(FACTS, run=RunRecord({}, {}, scores)))
    assert r"omitted clips of other labels: \ud800 3:" in text.encode().decode()


def test_a_card_of_other_classes_says_nothing_of_faces_and_expressions():
    facts = replace(
        FACTS, labels=("brush_hair", "jump"), texts={"brush_hair": "a person brushing hair", "jump": "a jump"}
    )
    text = card(facts).lower()
    assert "one of 2 classes comes out" in text
    assert not any(word in text for word in ("expression", "face", "facial", "feels"))
    assert "one of 2 expressions" in card(FACTS)
