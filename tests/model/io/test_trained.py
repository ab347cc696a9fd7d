import json
import sys
from types import ModuleType

import pytest

from peclip.clip_format import CLIP_MEAN, CLIP_STD
from peclip.errors import InputError
from peclip.model import SharedAdapter
from peclip.model.io.spec import trusting
from peclip.model.io.trained import FORMAT, ModelConfig
from tests.model.small import build

MARK = "from peclip.model import Adapter\nopen('ran', 'w')\n\n\nclass Evil(Adapter):\n    pass\n"


@pytest.fixture
def plain(tiny_clip):
    return build(tiny_clip, num_frames=8).config.to_plain()


def test_what_a_model_writes_is_read_back(tiny_clip, plain):
    assert plain["format"] == FORMAT
    assert plain["clip_format"] == {"num_frames": 8, "image_size": 32, "mean": [*CLIP_MEAN], "std": [*CLIP_STD]}
    assert ModelConfig.from_plain(json.loads(json.dumps(plain)), "x") == build(tiny_clip, num_frames=8).config


def test_token_ids_may_replace_texts(plain):
    ids = {key: value for key, value in plain.items() if key != "texts"} | {"token_ids": [[1, 2], [1, 3], [1, 4]]}
    config = ModelConfig.from_plain(ids, "x")
    assert (config.texts, config.token_ids) == (None, ((1, 2), (1, 3), (1, 4)))
    assert config.to_plain() == ids


CLIPS = {"num_frames": 8, "image_size": 32, "mean": [*CLIP_MEAN], "std": [*CLIP_STD]}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", FORMAT + 1, r"x was written by a newer peclip \(format 3, this one reads up to 2\): update peclip"),
        ("format", None, "x is not peclip's: its format is None, expected a number from 1 to 2"),
        ("format", True, "its format is True"),
        ("format", 0, "its format is 0"),
        ("backbone", 3, "x: backbone is 3, expected"),
        ("backbone", "a\nb", r"x: backbone is 'a\\nb', expected a Hub id, a folder or demo"),
        ("fingerprint", None, "x: fingerprint is None, expected"),
        ("labels", [], r"x: labels is empty, expected at least one class name"),
        ("labels", ["anger", "anger"], "x: labels: duplicate label 'anger'"),
        ("labels", ["anger", " "], "x: labels: ' ' is not a class name: it is empty"),
        ("labels", "anger", "x: labels is 'anger', expected"),
        ("labels", ["happiness", "sadness", "surprise", "joy"], "x: texts is missing 'joy'"),
        ("texts", {"happiness": 1}, "x: texts happiness is 1, expected"),
        ("texts", None, "x: expected either texts or token_ids"),
        ("token_ids", [[1, 2]], "x: expected either texts or token_ids"),
        ("adapters", ["vision.mlp"], r"x: adapters is \['vision.mlp'\], expected"),
        (
            "adapters",
            {"vision.mlp": {"class_path": "peclip.model.SharedAdapter"}},
            "x: adapters vision.mlp lacks init_args",
        ),
        (
            "adapters",
            {"vision.mlp": {"class_path": "../evil", "init_args": {}}},
            "class_path is '../evil', expected an import",
        ),
        ("prompts", "MaPLe", "x: prompts is 'MaPLe', expected"),
        ("logit_scale", 0, "x: logit_scale is 0.0, expected a number above 0"),
        ("logit_scale", float("nan"), "logit_scale is nan"),
        ("logit_scale", 1e308, r"x: logit_scale is 1e\+308, expected a number above 0 and at most 1,000,000"),
        ("logit_scale", "100", "logit_scale is '100', expected a number"),
        ("clip_format", {}, "x: clip_format is {}, expected num_frames, image_size, mean, std"),
        ("clip_format", CLIPS | {"num_frames": 0}, "x: clip_format: num_frames is 0, expected 1 to"),
        ("clip_format", CLIPS | {"mean": 3}, "x: clip_format: mean is 3, expected"),
        ("clip_format", CLIPS | {"std": [0.0, 1.0, 1.0]}, "x: clip_format: std is .*, expected three numbers above 0"),
        ("weights", "../../secret.safetensors", "x: unknown entry 'weights', expected format, backbone, "),
    ],
)
def test_an_entry_of_another_kind_is_refused_in_one_short_line(plain, key, value, message):
    with pytest.raises(InputError, match=message) as caught:
        ModelConfig.from_plain(plain | {key: value}, "x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("ids", [[[1, 2], [1]], [[1], [2], "3"], [[1.5], [2.5], [3.5]], []])
def test_token_ids_that_are_no_table_are_refused(plain, ids):
    entries = {key: value for key, value in plain.items() if key != "texts"} | {"token_ids": ids}
    with pytest.raises(InputError, match="x: token_ids is"):
        ModelConfig.from_plain(entries, "x")


OLD = {"num_frames": 8, "image_size": 32, "normalize": "clip"}


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (None, "x: input is None, expected num_frames, image_size and normalize"),
        (OLD | {"normalize": "imagenet"}, "x: input is .*, expected num_frames"),
        (OLD | {"num_frames": None}, "x: clip_format: num_frames is None, expected a whole number"),
    ],
)
def test_clips_of_format_1_that_are_wrong_are_refused(plain, clips, message):
    entries = {key: value for key, value in plain.items() if key != "clip_format"} | {"format": 1, "input": clips}
    with pytest.raises(InputError, match=message):
        ModelConfig.from_plain(entries, "x")


@pytest.mark.parametrize("content", [None, [], "config", {}, {"model_type": "clip"}])
def test_what_is_no_configuration_is_refused(content):
    with pytest.raises(InputError, match="x is not peclip's: it does not name a backbone, labels and adapters"):
        ModelConfig.from_plain(content, "x")


@pytest.mark.parametrize(
    "class_path", ["os.system", "subprocess.Popen", "builtins.exec", "torch.nn.Linear", "peclip.model.MaPLe"]
)
def test_sites_take_only_adapters_and_prompts_only_prompts(plain, class_path):
    spec = {"class_path": class_path, "init_args": {"command": "touch ran"}}
    with pytest.raises(InputError, match=f"x: adapters vision.mlp: class '{class_path}' is not an Adapter"):
        ModelConfig.from_plain(plain | {"adapters": {"vision.mlp": spec}}, "x")
    spec["class_path"] = class_path = class_path.replace("MaPLe", "SharedAdapter")
    with pytest.raises(InputError, match=f"x: prompts: class '{class_path}' is not Prompts"):
        ModelConfig.from_plain(plain | {"prompts": spec}, "x")


@pytest.mark.parametrize("class_path", ["SharedAdapter", ".relative.Adapter", "../evil.Adapter", "", "a..B", "a.<b>.C"])
def test_a_class_path_that_is_not_one_is_refused(plain, class_path):
    spec = {"class_path": class_path, "init_args": {}}
    with pytest.raises(
        InputError, match=r"x: adapters vision.mlp: class_path is '.*', expected an import path such as"
    ):
        ModelConfig.from_plain(plain | {"adapters": {"vision.mlp": spec}}, "x")


@pytest.mark.parametrize("module", ["antigravity", "idlelib.idle", "peclip.__main__"])
def test_modules_that_are_programs_are_not_imported(plain, module):
    spec = {"class_path": f"{module}.Adapter", "init_args": {}}
    with pytest.raises(InputError, match=f"class '{module}.Adapter' is not an Adapter"):
        ModelConfig.from_plain(plain | {"adapters": {"vision.mlp": spec}}, "x")
    assert module not in sys.modules


def test_a_module_of_another_package_is_not_imported_unless_the_user_trusts_the_file(plain, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(MARK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = plain | {"adapters": {"vision.mlp": {"class_path": "evil.Evil", "init_args": {}}}}
    for others in ((), ("evil.Other", "evi.Evil")):
        with (
            trusting(others),
            pytest.raises(InputError, match=r"class 'evil.Evil' is not part of peclip, .* import evil first"),
        ):
            ModelConfig.from_plain(entries, "x")
    assert not (tmp_path / "ran").exists()

    mine = ModuleType("evil")  # as if the person had imported it
    mine.Evil = type("Evil", (SharedAdapter,), {})
    with monkeypatch.context() as imported:
        imported.setitem(sys.modules, "evil", mine)
        ModelConfig.from_plain(entries, "x")
    assert not (tmp_path / "ran").exists()

    with trusting(["evil.Evil"]):
        ModelConfig.from_plain(entries, "x")
    assert (tmp_path / "ran").exists()
    monkeypatch.delitem(sys.modules, "evil")


def test_a_module_of_another_package_is_imported_if_the_user_trusts_everything(plain, tmp_path, monkeypatch):
    (tmp_path / "third_party_adapters.py").write_text(MARK.replace("open('ran', 'w')", ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    with trusting(everything=True):
        ModelConfig.from_plain(
            plain | {"adapters": {"vision.mlp": {"class_path": "third_party_adapters.Evil", "init_args": {}}}}, "x"
        )
