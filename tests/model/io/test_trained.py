import sys
from types import ModuleType

import pytest

from peclip.errors import InputError
from peclip.model import SharedAdapter
from peclip.model.io.trained import FORMAT, check_config, check_labels, with_input
from tests.model.small import build

MARK = "from peclip.model import Adapter\nopen('ran', 'w')\n\n\nclass Evil(Adapter):\n    pass\n"


@pytest.fixture
def config(tiny_clip):
    return with_input(build(tiny_clip).config, 8, 32, "clip")


def test_what_a_model_says_of_itself_passes(config):
    assert check_config(config, "x") is config
    assert config["format"] == FORMAT
    assert config["input"] == {"num_frames": 8, "image_size": 32, "normalize": "clip"}


def test_token_ids_may_stand_in_the_place_of_texts(config):
    ids = {key: value for key, value in config.items() if key != "texts"} | {"token_ids": [[1, 2], [1, 3], [1, 4]]}
    assert check_config(ids, "x") == ids


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", FORMAT + 1, r"x was written by a newer peclip \(format 2, this one reads up to 1\): update peclip"),
        ("format", None, "x is not peclip's: its format is None, expected a number"),
        ("format", True, "its format is True"),
        ("backbone", 3, "x: backbone is 3, expected a Hub id, a folder or demo"),
        ("backbone", "a\nb", r"backbone is 'a\\nb', expected"),
        ("fingerprint", "", "x: fingerprint is '', expected"),
        ("labels", [], r"x: labels is \[\], expected distinct class names"),
        ("labels", ["anger", "anger"], "expected distinct class names"),
        ("labels", "anger", "expected distinct class names"),
        ("labels", ["happiness", "sadness", "surprise", "joy"], "x: texts has none for the label 'joy'"),
        ("texts", {"happiness": 1}, "x: texts is .* expected a text by label"),
        ("token_ids", [[1, 2]], "x: expected either texts or token_ids"),
        ("adapters", ["vision.mlp"], "x: adapters is .* expected a class_path and init_args by site"),
        (
            "adapters",
            {"vision.mlp": {"class_path": "peclip.model.SharedAdapter"}},
            "expected a class_path and init_args",
        ),
        ("adapters", {"vision.mlp": {"class_path": "../evil", "init_args": {}}}, "expected a class_path and init_args"),
        ("prompts", "MaPLe", "x: prompts is 'MaPLe', expected"),
        ("logit_scale", 0, "x: logit_scale is 0, expected a number above 0"),
        ("logit_scale", float("nan"), "logit_scale is nan"),
        ("input", {}, "x: input is {}, expected num_frames, image_size and normalize"),
        ("input", {"num_frames": 0, "image_size": 32, "normalize": "clip"}, "x: input is"),
        ("input", {"num_frames": 8, "image_size": 32, "normalize": "imagenet"}, "x: input is"),
        ("weights", "../../secret.safetensors", "x: unknown entry 'weights', expected backbone, "),
    ],
)
def test_an_entry_of_another_kind_is_refused_in_one_short_line(config, key, value, message):
    with pytest.raises(InputError, match=message) as caught:
        check_config(config | {key: value}, "x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("content", [None, [], "config", {}, {"model_type": "clip"}])
def test_what_is_no_configuration_is_refused(content):
    with pytest.raises(InputError, match="x is not peclip's: it does not name a backbone, labels and adapters"):
        check_config(content, "x")


@pytest.mark.parametrize(
    "class_path", ["os.system", "subprocess.Popen", "builtins.exec", "torch.nn.Linear", "peclip.model.MaPLe"]
)
def test_only_adapters_stand_at_sites_and_only_prompts_as_prompts(config, class_path):
    spec = {"class_path": class_path, "init_args": {"command": "touch ran"}}
    with pytest.raises(InputError, match=f"x: adapters vision.mlp: class '{class_path}' is not a Adapter"):
        check_config(config | {"adapters": {"vision.mlp": spec}}, "x")
    spec["class_path"] = class_path = class_path.replace("MaPLe", "SharedAdapter")
    with pytest.raises(InputError, match=f"x: prompts: class '{class_path}' is not a MaPLe"):
        check_config(config | {"prompts": spec}, "x")


@pytest.mark.parametrize("module", ["antigravity", "idlelib.idle", "peclip.__main__"])
def test_modules_that_are_programs_are_not_imported(config, module):
    spec = {"class_path": f"{module}.Adapter", "init_args": {}}
    with pytest.raises(InputError, match=f"class '{module}.Adapter' is not a Adapter"):
        check_config(config | {"adapters": {"vision.mlp": spec}}, "x")
    assert module not in sys.modules


@pytest.mark.parametrize("place", ["evil.py", "evil/__init__.py"])
def test_a_module_that_came_along_in_the_working_folder_is_not_imported(config, place, tmp_path, monkeypatch):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(MARK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = {"class_path": "evil.Evil", "init_args": {}}
    with pytest.raises(InputError, match=r"class 'evil.Evil' lies in the working folder: .* import evil first"):
        check_config(config | {"adapters": {"vision.mlp": spec}}, "x")
    assert not (tmp_path / "ran").exists()

    mine = ModuleType("evil")  # as if the person had imported it
    mine.Evil = type("Evil", (SharedAdapter,), {})
    monkeypatch.setitem(sys.modules, "evil", mine)
    check_config(config | {"adapters": {"vision.mlp": spec}}, "x")


def test_an_installed_package_may_define_adapters(config, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "third_party_adapters.py").write_text(MARK.replace("open('ran', 'w')", ""))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    check_config(
        config | {"adapters": {"vision.mlp": {"class_path": "third_party_adapters.Evil", "init_args": {}}}}, "x"
    )


@pytest.mark.parametrize("labels", [["sadness", "happiness"], ["happiness"], ["happiness", "sadness", "fear"]])
def test_labels_must_be_the_same_in_the_same_order(labels):
    with pytest.raises(InputError, match="x was trained on the labels happiness, sadness, but the data has"):
        check_labels({"labels": ["happiness", "sadness"]}, labels, "x")
    check_labels({"labels": labels}, tuple(labels), "x")
