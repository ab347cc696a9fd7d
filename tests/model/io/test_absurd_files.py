"""Files whose numbers are absurd are refused in one line, in seconds and before memory is taken for them."""

import json
import resource
import time
import zipfile
from collections import OrderedDict
from contextlib import contextmanager

import pytest
import torch
from torch._utils import _rebuild_meta_tensor_no_storage

from peclip import PEClip
from peclip.errors import InputError
from peclip.model import load_released
from peclip.model.io.checkpoint import ENTRY, read_trained, to_checkpoint
from peclip.model.torch_file import read_checkpoint, read_tensors
from tests.model.io.test_package import change
from tests.model.released_small import as_saved, small_ids, small_state
from tests.model.small import build

MEGABYTES = 300
"""Memory that refusing a file may take."""


@contextmanager
def refused(message):
    """Expect an error of one short line, in seconds and little memory."""
    begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=message) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1200
    assert time.process_time() - begin < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1000 * MEGABYTES


def prompts(**arguments):
    return {"prompts": {"class_path": "peclip.model.MaPLe", "init_args": arguments}}


def adapter(name="TextAdapter", **arguments):
    return {"adapters": {"text.mlp": {"class_path": f"peclip.model.{name}", "init_args": arguments}}}


CLIPS = {"num_frames": 16, "image_size": 32, "mean": [0.48145466, 0.4578275, 0.40821073]}
CLIPS |= {"std": [0.26862954, 0.26130258, 0.27577711]}
MANY = [str(number) for number in range(20_000)]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (prompts(length=10**9), r"prompts.tokens.0 has shape \(2, 32\), the model's has \(1000000000, 32\)"),
        (prompts(length=10**40), "its adapters, prompts or temporal head cannot be built: .*Overflow"),
        (prompts(depth=10**9), "MaPLe: depth is 1000000000, expected 1 to 2"),
        (prompts(length="x"), "its adapters, prompts or temporal head cannot be built: '<' not supported"),
        (adapter(reduction=10**40), "TextAdapter: reduction is 10+, expected 1 to the width of the tower, 32"),
        (adapter(reduction=1.5), "its adapters, prompts or temporal head cannot be built"),
        (adapter(reduction=True), r"has, but the model has not, adapters\."),
        (adapter(width=10**9), "got multiple values for argument 'width'"),
        (adapter(init=["zero"] * 1000), r"init is \['zero', .*\.\.\.\S*, expected zero or default"),
        (adapter("Adapter"), "its adapters, prompts or temporal head cannot be built"),
        ({"adapters": {f"vision.mlp[{i}]": {} for i in range(3000)}}, "lacks class_path"),
        ({"labels": MANY, "texts": dict.fromkeys(MANY, "x")}, "labels has 20,000 names, expected at most 10,000"),
        ({"labels": ["x" * 10**6, "b"]}, "it has 1,000,000 characters, expected at most 1,000"),
        (
            {"texts": {"happiness": "x" * 10**7}},
            "texts has 10,000,000 characters for 'happiness', expected at most 10,000",
        ),
        ({"clip_format": CLIPS | {"num_frames": 10**6}}, "num_frames is 1000000, expected 1 to 10000"),
        ({"clip_format": CLIPS | {"num_frames": 10**400}}, r"num_frames is 10+\.\.\.0+, expected 1 to 10000"),
        (
            {"clip_format": CLIPS | {"image_size": 10**6}},
            "clip_format has the image_size 1000000, but its backbone .* needs 32",
        ),
        (
            {"clip_format": CLIPS | {"mean": [0.1, 0.1, 0.1]}},
            r"clip_format has the mean \(0.1, 0.1, 0.1\), but its backbone",
        ),
        ({"logit_scale": 10**400}, r"logit_scale is 10+\.\.\.0+, expected a number"),
        ({"logit_scale": float("inf")}, "is damaged or not JSON: Infinity is not a finite number"),
        (
            {"texts": None, "token_ids": [[0] * 10**5] * 3},
            r"token_ids have shape \(3, 100000\), expected \(3, 2 to 160\)",
        ),
        ({"texts": None, "token_ids": [[2**70] * 5] * 3}, "token_ids is .*, expected whole numbers from 0"),
        ({"backbone": "x" * 10**5}, r"backbone is 'x+\.\.\.x+', expected a Hub id, a folder or demo"),
        ({"backbone": "x" * 300}, "does not fit its backbone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_a_package_of_absurd_numbers_is_refused(folder, entries, message):
    change(folder, **entries)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in config.items() if value is not None or key != "texts"})
    )
    with refused(message):
        PEClip.from_pretrained(folder)


def test_a_number_beyond_floating_point_is_not_read(folder):
    text = (folder / "config.json").read_text().replace('"logit_scale": 100.0', '"logit_scale": 1e999')
    (folder / "config.json").write_text(text)
    with refused("is damaged or not JSON: 1e999 is not a finite number"):
        read_trained(folder)


def test_prompts_leave_room_for_a_text(tiny_clip):
    from functools import partial

    from peclip.model import MaPLe

    with refused(
        "prompts: length is 1000000000, expected at most 157: .* accepts 160 tokens of a text with its prompts"
    ):
        build(tiny_clip, prompts=partial(MaPLe, length=10**9))
    with pytest.raises(InputError, match="accepts at most 160"):  # the texts have more than one token
        build(tiny_clip, prompts=partial(MaPLe, length=157))


def repack(source, target, compression=zipfile.ZIP_DEFLATED, zeros=()):
    """Write the entries of an archive again, some of them with so many megabytes of zeros instead."""
    zeros, megabyte = dict(zeros), bytes(1_000_000)
    with zipfile.ZipFile(source) as stored, zipfile.ZipFile(target, "w", compression, compresslevel=1) as packed:
        for entry in stored.infolist():
            size = zeros.get(entry.filename.split("/", 1)[1])
            with packed.open(entry.filename, "w") as written:
                written.writelines(size * [megabyte] if size else [stored.read(entry)])
    return target


@pytest.fixture(params=["ckpt", "pth"])
def saved(request, net, tmp_path):
    """A checkpoint of peclip and a released one, with the function that reads each."""
    path = tmp_path / f"a.{request.param}"
    if request.param == "ckpt":
        torch.save(to_checkpoint(net.to_trained()), path)
        return path, read_trained
    torch.save(as_saved(small_state()), path)
    return path, lambda path: load_released(path, token_ids=small_ids())


def test_a_compressed_checkpoint_is_refused(saved, tmp_path):
    path, read = saved
    bomb = repack(path, tmp_path / f"bomb{path.suffix}", zeros={"data/0": MEGABYTES + 50})
    assert bomb.stat().st_size < 10_000_000
    with refused(r"its entry '.*' is compressed, which no checkpoint of PyTorch is"):
        read(bomb)
    read(repack(path, tmp_path / f"stored{path.suffix}", zipfile.ZIP_STORED))


def test_entries_that_are_larger_than_the_file_are_refused(saved):
    path, read = saved
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")  # the first entry of the directory
    content[place + 20 : place + 28] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(content)
    with refused(r"refused, it says that it holds 2,\d+,\d+,\d+ bytes, but has \d+,\d+|refused, .*|is damaged"):
        read(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(1).expand(10**12), "it says that it holds 4,000,000,\\d+,\\d+ bytes, but has"),
        (_rebuild_meta_tensor_no_storage(torch.float32, (10**12,), (1,), False), "a is not a plain tensor"),
        (torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (10**12,)), "a is not a plain tensor"),
    ],
    ids=["one value repeated", "without storage", "sparse"],
)
@pytest.mark.parametrize("read", [read_tensors, read_checkpoint], ids=["pth", "ckpt"])
def test_a_tensor_that_is_not_stored_is_refused(value, message, read, tmp_path):
    torch.save({"state_dict": {"a": value, "b": torch.ones(2)}}, tmp_path / "a.pth")
    with refused(message):
        read(tmp_path / "a.pth")


def test_many_names_for_one_tensor_are_refused(tmp_path):
    state = OrderedDict((f"a.{index}", torch.ones(1)) for index in range(3))
    shared = torch.zeros(1_000_000)
    state |= {f"b.{index}": shared for index in range(1_000)}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    with refused("it says that it holds 4,000,000,012 bytes, but has 4,"):
        read_tensors(tmp_path / "a.pth")


def test_settings_that_hold_one_list_many_times_are_refused(net, tmp_path):
    bomb: list = ["x"]
    for _ in range(12):
        bomb = [bomb] * 10
    content = to_checkpoint(net.to_trained())
    for arguments in ({"reduction": bomb}, {"reduction": 2**80}):
        content[ENTRY]["adapters"]["text.mlp"]["init_args"] = arguments
        torch.save(content, tmp_path / "a.ckpt")
        with refused("its settings hold (more than 2,000,000 values|a number of more than 63 bits)"):
            read_trained(tmp_path / "a.ckpt")
    deep: list = []
    for _ in range(100):
        deep = [deep]
    content[ENTRY]["adapters"]["text.mlp"]["init_args"] = {"reduction": deep}
    torch.save(content, tmp_path / "a.ckpt")
    with refused("its settings are nested deeper than 20 levels"):
        read_trained(tmp_path / "a.ckpt")


def test_a_released_file_of_very_many_blocks_is_refused(tmp_path):
    state = small_state()
    state |= {f"image_encoder.transformer.resblocks.{index}.ln_1.weight": torch.ones(128) for index in range(3, 1000)}
    torch.save(as_saved(state), tmp_path / "a.pth")
    with refused(r"its shapes do not fit: num_hidden_layers is 1000, expected 1 to 200"):
        load_released(tmp_path / "a.pth", token_ids=small_ids())


def test_texts_of_a_package_belong_to_their_labels_in_any_order(net, folder):
    video = torch.randn(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    texts = json.loads((folder / "config.json").read_text())["texts"]
    change(folder, texts={"further": "x", **dict(reversed(texts.items()))})
    with torch.no_grad():
        assert torch.equal(PEClip.from_pretrained(folder)(video), net(video))
