"""Copies of the backbones that tests load once: as good as the backbone that is loaded."""

import shutil

import torch

from peclip.model.backbones.load import load_backbone
from tests.backbones import _once


def held(clip):
    """Return what a model could share with its copy: modules, their hooks and dictionaries, and the memory of weights."""
    dictionaries = [value for module in clip.modules() for value in vars(module).values() if isinstance(value, dict)]
    weights = [*clip.parameters(), *clip.buffers()]
    return {*map(id, clip.modules()), *map(id, dictionaries), *(weight.data_ptr() for weight in weights)}


def test_a_copy_computes_the_same_and_shares_nothing_that_can_be_written_to(tiny_clip):
    load, frames = _once(load_backbone), torch.rand(2, 3, 32, 32)
    loaded, one, other = load_backbone(str(tiny_clip)), load(str(tiny_clip)), load(str(tiny_clip))
    for copy in (one, other):
        assert torch.equal(copy.encode_frames(frames), loaded.encode_frames(frames))
        assert [*copy.clip.state_dict()] == [*loaded.clip.state_dict()]
        assert not copy.clip.training
        assert not any(weight.requires_grad for weight in copy.clip.parameters())
    assert not held(one.clip) & held(other.clip)
    assert one.clip.config is not other.clip.config


def test_a_folder_is_loaded_once_from_wherever_it_is_named_and_again_where_it_has_changed(
    tiny_clip, tmp_path, monkeypatch
):
    folder, loads = shutil.copytree(tiny_clip, tmp_path / "clip"), []
    load = _once(lambda name: loads.append(name) or load_backbone(name))
    load(str(folder))
    monkeypatch.chdir(folder)
    load(str(folder))
    assert len(loads) == 1
    shutil.copyfile(folder / "config.json", tmp_path / "config.json")
    (tmp_path / "config.json").replace(folder / "config.json")
    load(str(folder))
    assert len(loads) == 2
