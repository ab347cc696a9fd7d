"""Backbones of other formats and families, or with files that contradict each other: one line names what they are."""

import json
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, SiglipModel, SiglipVisionConfig, SiglipVisionModel

from peclip.class_texts import class_texts
from peclip.errors import InputError
from peclip.labels import SEVEN
from peclip.model import PEClip
from peclip.model.backbones.load import load_backbone
from tests.lacking import needs
from tests.model.backbones.families import openai_state, write_letters
from tests.model.released_small import as_saved, small_state
from tests.model.small import build, clips
from tests.runs import run


@pytest.fixture(scope="module")
def written(families):
    """Return the folder of a family; not to be written to."""

    def folder(kind):
        path = families(kind).path
        return path.parent if path.is_file() else path

    return folder


@pytest.fixture
def copy(written, tmp_path):
    """Return a copy of the folder of a family, which a test may change."""
    return lambda kind: shutil.copytree(written(kind), tmp_path / kind)


def refusal(path):
    with pytest.raises(InputError) as caught:
        load_backbone(str(path))
    message = str(caught.value)
    assert message.startswith(f"backbone {str(path)!r} ")
    assert "\n" not in message
    return message


def change(path, **entries):
    """Change entries of a JSON file; ``a__b`` is the entry b of a, and None removes one."""
    plain = json.loads(path.read_text())
    for name, value in entries.items():
        *parents, last = name.split("__")
        section = plain
        for parent in parents:
            section = section[parent]
        section[last] = value
    path.write_text(json.dumps(plain))


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
    assert "it is torn, or no safetensors file" in refusal(tmp_path / "a.safetensors")


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


def test_a_file_without_a_tokenizer_needs_that_of_clip(copy, tmp_path):
    shutil.copy(copy("file") / "farl.pth", tmp_path / "farl.pth")
    message = refusal_of_tokenizer(tmp_path / "farl.pth")
    assert "hf download openai/clip-vit-base-patch16" in message
    assert str(tmp_path) in message


def refusal_of_tokenizer(path):
    with pytest.raises(InputError) as caught:
        load_backbone(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def vision_only(folder):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=32)).save_pretrained(folder)


def unknown_type(folder):
    change(folder / "config.json", model_type="eva_clip")


def package(folder):
    build(folder).save_pretrained(folder.parent / "package")
    shutil.rmtree(folder)
    (folder.parent / "package").rename(folder)


def run_folder(folder):
    (folder / "config.json").unlink()
    (folder / "checkpoints").mkdir()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (vision_only, "it is a 'siglip_vision_model', expected CLIP, MetaCLIP 2, SigLIP or SigLIP 2"),
        (unknown_type, "it is a 'eva_clip', expected CLIP, MetaCLIP 2, SigLIP or SigLIP 2"),
        (package, "it is a package of peclip, a trained model: use it with --ckpt_path"),
        (run_folder, "it is a run of peclip, a trained model: use it with --ckpt_path"),
    ],
)
def test_a_folder_of_another_kind_is_named(copy, spoil, says):
    folder = copy("clip")
    spoil(folder)
    assert says in refusal(folder)


@pytest.mark.parametrize(
    ("kind", "entries", "says"),
    [
        ("siglip", {"vision_config__vision_use_head": False}, "its vision tower has no pooling head"),
        ("siglip", {"text_config__projection_size": 16}, "its texts have features of width 16, its frames of 32"),
        ("siglip2", {"vision_config__num_patches": 6}, "num_patches is 6, expected those of a square frame"),
        ("siglip2", {"vision_config__num_patches": 10**9}, "num_patches is 1000000000, expected 1 to"),
        (
            "siglip",
            {"vision_config__num_hidden_layers": 3},
            "is incomplete: missing or mis-shaped weights: vision_model",
        ),
        (
            "metaclip2",
            {"text_config__eos_token_id": 5},
            "a tokenizer that ends a text with the token 2, but its text tower",
        ),
        (
            "metaclip2",
            {"text_config__eos_token_id": [2, 3]},
            "a tokenizer that ends a text with the token 2, but its text tower",
        ),
        ("metaclip2", {"text_config__hidden_size": 48}, "is incomplete: missing or mis-shaped weights"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(copy, kind, entries, says):
    folder = copy(kind)
    change(folder / "config.json", **entries)
    assert says in refusal(folder)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (
            {"model_cfg__vision_cfg__timm_model_name": "vit_b"},
            "vision_cfg has timm_model_name 'vit_b', but of open_clip's",
        ),
        ({"model_cfg__text_cfg__hf_model_name": "roberta"}, "text_cfg has hf_model_name 'roberta', but"),
        ({"model_cfg__text_cfg__no_causal_mask": True}, "text_cfg has no_causal_mask True, but"),
        ({"model_cfg__vision_cfg__pool_type": "avg"}, "vision_cfg has pool_type 'avg', but"),
        ({"model_cfg__vision_cfg__layers": [3, 4, 6, 3]}, "layers is [3, 4, 6, 3], expected a whole number"),
        ({"model_cfg__vision_cfg__image_size": 64}, "vision_cfg has image_size 64, but the weights are those of 32"),
        ({"model_cfg__vision_cfg__width": 64}, "vision_cfg has width 64, but the weights are those of 32"),
        ({"model_cfg__vision_cfg__layers": 3}, "vision_cfg has layers 3, but the weights are those of 2"),
        (
            {"model_cfg__text_cfg__context_length": 77},
            "text_cfg has context_length 77, but the weights are those of 160",
        ),
        ({"model_cfg__multimodal_cfg": {"width": 32}}, "model_cfg has a multimodal_cfg"),
        ({"model_cfg": 3}, "open_clip_config.json has no model_cfg"),
        ({"preprocess_cfg__mean": [0.5, 0.5]}, "mean is (0.5, 0.5), expected three numbers"),
        ({"model_cfg__vision_cfg__head_width": 0}, "head_width is 0, expected a whole number above 0"),
    ],
)
def test_an_open_clip_folder_with_other_towers_is_refused(copy, entries, says):
    folder = copy("open_clip")
    change(folder / "open_clip_config.json", **entries)
    assert says in refusal(folder)


def without_tokenizer(folder):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    change(folder / "config.json", text_config__eos_token_id=2)  # as in OpenAI's own, where any end token passes


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_tokenizer, "it has no tokenizer files, expected tokenizer.json or vocab.json"),
        (lambda folder: (folder / "merges.txt").unlink(), "it has vocab.json alone, expected merges.txt beside it"),
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: change(folder / "config.json", vision_config__layer_norm_eps="x"), "expected float, got str"),
        (lambda folder: change(folder / "config.json", vision_config__num_attention_heads=3), "not a multiple of"),
        (lambda folder: change(folder / "config.json", vision_config__hidden_act="x"), "'x' is missing or unknown"),
    ],
)
def test_what_a_folder_lacks_or_misstates_is_named(copy, spoil, says):
    folder = copy("clip")
    spoil(folder)
    assert says in refusal(folder)


def test_a_configuration_does_not_decide_what_a_pass_returns(copy, written):
    folder = copy("clip")
    change(folder / "config.json", vision_config__return_dict=False, text_config__return_dict=False)
    assert torch.equal(build(folder)(clips()), build(written("clip"))(clips()))


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


def test_an_open_clip_folder_with_pickled_weights_is_read_safely(copy):
    folder = copy("open_clip")
    expected = load_backbone(str(folder)).fingerprint
    weights = folder / "open_clip_model.safetensors"
    torch.save(load_file(weights), folder / "open_clip_pytorch_model.bin")
    weights.unlink()
    assert load_backbone(str(folder)).fingerprint == expected
    (folder / "open_clip_pytorch_model.bin").unlink()
    assert "it has none of open_clip_model.safetensors" in refusal(folder)


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


def test_a_folder_with_both_configurations_is_hugging_faces(copy, written):
    folder = copy("clip")
    shutil.copy(written("open_clip") / "open_clip_config.json", folder)
    assert load_backbone(str(folder)).fingerprint == load_backbone(str(written("clip"))).fingerprint


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"image_mean": [0.5, 0.5]}, "preprocessor_config.json has image_mean [0.5, 0.5], expected three numbers"),
        ({"image_std": 0.5}, "preprocessor_config.json has image_std 0.5, expected three numbers"),
        ({"image_mean": [123, 116, 103]}, "mean and std of its pixels are (123.0, 116.0, 103.0) and"),
        ({"image_std": [0.5, 0.5, 0]}, "std is (0.5, 0.5, 0.0), expected three numbers above 0"),
        ({"rescale_factor": 1 / 127.5}, "preprocessor_config.json has rescale_factor 0.0078"),
        ({"do_rescale": False}, "preprocessor_config.json has do_rescale false, so that pixels are from 0 to 255"),
    ],
)
def test_a_preprocessor_that_states_no_pixels_is_refused(copy, entries, says):
    folder = copy("metaclip2")
    change(folder / "preprocessor_config.json", **entries)
    assert says in refusal(folder)


def test_a_preprocessor_that_does_not_normalise_leaves_pixels_as_they_are(copy):
    folder = copy("metaclip2")
    change(folder / "preprocessor_config.json", do_normalize=False)
    backbone = load_backbone(str(folder))
    assert (backbone.mean, backbone.std) == ((0.0,) * 3, (1.0,) * 3)


def with_a_start_token(folder):
    write_letters(folder, start="<s>", end="</s>", fill="</s>")


def without_padding(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "spoil", "says"),
    [
        ("siglip", with_a_start_token, "a tokenizer that puts a start token before a text, which no SigLIP"),
        ("siglip", without_padding, "a tokenizer without a token to fill up texts, which a SigLIP needs"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(copy, kind, spoil, says):
    folder = copy(kind)
    spoil(folder)
    assert says in refusal(folder)


def test_the_tokenizer_of_the_first_siglip_needs_its_package(copy, monkeypatch):
    def lacking(*args, **options):
        raise ImportError("SiglipTokenizer requires the SentencePiece library")

    folder = copy("siglip")
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lacking)
    assert "its tokenizer needs sentencepiece: pip install 'peclip[siglip]'" in refusal(folder)


def test_the_tokenizer_of_the_first_siglip_gives_the_features_of_hugging_face(copy, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece", reason=needs("sentencepiece"))
    folder = copy("siglip")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("\n".join(text.lower() for text in class_texts(SEVEN)))
    special = {"unk_id": 0, "eos_id": 1, "pad_id": -1, "bos_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        input=str(sentences), model_prefix=str(folder / "spiece"), vocab_size=45, minloglevel=2, **special
    )
    from transformers import SiglipTokenizer

    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=160)
    tokenizer.save_pretrained(folder)
    texts = class_texts(SEVEN)
    ids = tokenizer(texts, padding="max_length", max_length=160, return_tensors="pt").input_ids
    net = PEClip(SEVEN, str(folder), adapters={}, prompts=None)
    with torch.no_grad():
        expected = SiglipModel.from_pretrained(folder).eval().get_text_features(input_ids=ids).pooler_output
        assert (net.encode_text() - torch.nn.functional.normalize(expected)).abs().max() <= 1e-6


def test_a_text_longer_than_the_context_of_siglip_is_refused(written):
    with pytest.raises(InputError, match=r"has 171 tokens with its prompts, .* accepts at most 160"):
        build(written("siglip"), texts={"happiness": "a" * 168, "sadness": "b", "surprise": "c"})


def test_the_command_says_it_in_one_line(tiny_config, tmp_path):
    (tmp_path / "farl.pth").write_text("not weights\n")
    result = run("fit", "--config", tiny_config, "--model.net.backbone", tmp_path / "farl.pth")
    assert result.status != 0
    assert "refused, not a checkpoint whose tensors can be read safely" in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_openai_names_are_those_of_the_program(tiny_clip):
    from transformers import CLIPModel

    names = openai_state(CLIPModel.from_pretrained(tiny_clip))
    assert {"visual.proj", "visual.transformer.resblocks.1.mlp.c_proj.bias", "ln_final.weight", "text_projection"} <= {
        *names
    }
