"""Files that are no backbone, of another format or layout: one line names what they are."""

import zipfile

import pytest
import torch
from safetensors.torch import save_file

from peclip.model.backbones.load import load_backbone
from tests.model.backbones.families import openai_state
from tests.model.backbones.spoilt import refusal
from tests.model.released_small import as_saved, small_state


def text(path):
    path.write_text("not weights\n")


def empty(path):
    path.write_bytes(b"")


def other_archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("clips.csv", "path,label\n")


def torch_script(path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def released(path):
    torch.save(as_saved(small_state()), path)


def of_hugging_face(path):
    torch.save({"vision_model.embeddings.class_embedding": torch.ones(2)}, path)


def resnet(path):
    torch.save({"visual.layer1.0.conv1.weight": torch.ones(2)}, path)


def anything(path):
    torch.save({"encoder.weight": torch.ones(2)}, path)


def no_tensors(path):
    torch.save({"epoch": 3}, path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("write", "says"),
    [
        (text, "refused, not a checkpoint whose tensors can be read safely"),
        (empty, "refused, not a checkpoint whose tensors can be read safely"),
        (other_archive, "it is a zip archive, expected a state dict of CLIP in OpenAI's layout"),
        (torch_script, "it is a TorchScript archive, which is a program: save its weights alone"),
        (released, "it holds a trained model of the authors' program: use it with --ckpt_path"),
        (
            of_hugging_face,
            "it holds the weights of a Hugging Face model: name the folder in which it is, with config.json",
        ),
        (resnet, "it holds a CLIP with a ResNet, expected one with a vision transformer"),
        (anything, "it holds tensors such as 'encoder.weight', expected a state dict of CLIP in OpenAI's layout"),
        (no_tensors, "holds no state_dict of tensors, expected a state dict of CLIP in OpenAI's layout"),
    ],
)
def test_a_file_of_another_format_gets_a_message_about_its_format(tmp_path, write, says):
    path = tmp_path / "farl.pth"
    write(path)
    message = refusal(path)
    assert says in message
    assert "hf download" not in message


def test_a_torn_safetensors_file_is_named_as_such(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"x" * 20)
    assert "it is damaged, or not a safetensors file" in refusal(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["farl.pth", "weights/farl.pt", "/nowhere/clip", "./clip", "~/clip"])
def test_a_path_that_leads_nowhere_is_not_looked_for_on_the_hub(name, monkeypatch):
    monkeypatch.delattr("peclip.model.backbones.load.on_hub")
    assert refusal(name) == f"backbone {name!r} is neither a folder nor a file"


def test_a_file_without_a_tensor_is_incomplete(copy):
    path = copy("file") / "farl.pth"
    state = torch.load(path)["state_dict"]
    del state["transformer.resblocks.1.ln_2.bias"]
    torch.save(state, path)
    assert "it has no tensor 'transformer.resblocks.1.ln_2.bias'" in refusal(path)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module."])
def test_state_dicts_of_other_programs_are_read(copy, wrapper, tmp_path):
    path = copy("file") / "farl.pth"
    expected, state = load_backbone(str(path)), torch.load(path)["state_dict"]
    del state["logit_scale"]  # not all programs store it
    state["input_resolution"] = torch.tensor(32)
    plain = {f"{wrapper}{name}": value for name, value in state.items()} if "." in wrapper else {wrapper: state}
    torch.save(plain, path)
    assert load_backbone(str(path)).fingerprint == expected.fingerprint


def test_a_safetensors_file_in_openais_layout_is_read(copy):
    folder = copy("file")
    save_file(torch.load(folder / "farl.pth")["state_dict"], folder / "farl.safetensors")
    assert (
        load_backbone(str(folder / "farl.safetensors")).fingerprint
        == load_backbone(str(folder / "farl.pth")).fingerprint
    )


def before_zip(path):
    torch.save({"visual.proj": torch.ones(2)}, path, _use_new_zipfile_serialization=False)


def cut_off(path):
    torch.save({"visual.proj": torch.ones(2000)}, path)
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("write", "says"),
    [(before_zip, "it is in the format of PyTorch before 1.6"), (cut_off, "it is cut off or damaged")],
)
def test_the_beginning_of_a_file_tells_what_it_is(tmp_path, write, says):
    write(tmp_path / "farl.pth")
    assert says in refusal(tmp_path / "farl.pth")


def test_a_file_of_open_clip_needs_the_configuration_beside_it(copy):
    """It states the activation: without it the features would be those of another function."""
    folder = copy("open_clip")
    message = refusal(folder / "open_clip_model.safetensors")
    assert "open_clip_config.json states activation and attention heads" in message
    (folder / "open_clip_model.safetensors").rename(folder / "weights.safetensors")
    assert "name the folder of both" in refusal(folder / "weights.safetensors")


def test_a_file_of_whole_numbers_is_not_cast(copy):
    folder = copy("file")
    state = torch.load(folder / "farl.pth")["state_dict"]
    torch.save({name: value.char() for name, value in state.items()}, folder / "farl.pth")
    assert refusal(folder / "farl.pth").endswith("would be int8, expected fp16, bf16, fp32 or fp64")


def test_heads_of_another_width_than_openais_are_not_guessed(copy):
    folder = copy("file")
    state = torch.load(folder / "farl.pth")["state_dict"]
    narrow = {name: value[..., :48] if value.ndim else value for name, value in state.items()}
    narrow["visual.transformer.resblocks.0.ln_1.weight"] = torch.ones(48)
    torch.save(narrow, folder / "farl.pth")
    assert "a tower is 48 wide, expected a multiple of 64" in refusal(folder / "farl.pth")


def test_openai_names_are_those_of_the_program(tiny_clip):
    from transformers import CLIPModel

    names = openai_state(CLIPModel.from_pretrained(tiny_clip))
    assert {"visual.proj", "visual.transformer.resblocks.1.mlp.c_proj.bias", "ln_final.weight", "text_projection"} <= {
        *names
    }
