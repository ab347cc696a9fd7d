import pytest
import torch

from peclip.model import Adapter
from peclip.model.backbones.load import load_backbone
from peclip.model.blocks import Flow
from peclip.model.inject import attach
from tests.model.small import clips

LENGTH = 3
"""Prompt tokens per depth."""


class Probe(Adapter):
    """Shifts its tokens by its own amount and notes what it was called with."""

    def __init__(self, shift):
        super().__init__()
        self.shift, self.calls = shift, []

    def forward(self, x, frames):
        self.calls.append((tuple(x.shape), frames))
        return x + self.shift


class InputProbe(Probe):
    takes = "input"


class BothProbe(Probe):
    """Adds its amount of the input to the output, and notes the input."""

    takes = "both"

    def forward(self, x, frames, entering):
        self.entering = entering
        return super().forward(x, frames)


@pytest.fixture(scope="module")
def clip(tiny_clip):
    return load_backbone(str(tiny_clip))


@pytest.fixture
def hooked(clip):
    """Attach to a tower, and detach everything at the end of the test."""
    handles = []

    def hook(tower, adapters=None, depth=0, flow=None):
        handles.extend(attach(clip.towers[tower], adapters or {}, depth, flow or Flow()))
        return handles

    yield hook
    for handle in handles:
        handle.remove()


def run(backbone, tower):
    """The last hidden state of a tower for 6 frames or 2 texts."""
    with torch.no_grad():
        if tower == "vision":
            return backbone.clip.vision_model(pixel_values=clips().flatten(0, 1)).last_hidden_state
        return backbone.clip.text_model(input_ids=ids()).last_hidden_state


def ids():
    return torch.tensor([[188, *range(20, 27), 189], [188, *range(40, 47), 189]])


def record(module, store, what="input"):
    """Keep what goes into or comes out of a module."""

    def note(module, args, output):
        value = args[0] if what == "input" else output
        store.append((value[0] if isinstance(value, tuple) else value).clone())

    return module.register_forward_hook(note)


def prompts(depth):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(LENGTH, 32, generator=generator) for _ in range(depth)]


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_every_block_calls_its_own_adapters_once_with_the_frames_of_the_flow(clip, hooked, tower):
    places = [(part, block) for part in ("attention", "mlp") for block in range(2)]
    probes = {place: Probe(0.0) for place in places}
    hooked(tower, probes, flow=Flow(frames=3))
    run(clip, tower)
    shape = (6, 5, 32) if tower == "vision" else (2, 9, 32)
    assert {place: probe.calls for place, probe in probes.items()} == {place: [(shape, 3)] for place in places}


@pytest.mark.parametrize("tower", ["vision", "text"])
@pytest.mark.parametrize("block", [0, 1])
def test_adapted_branch_is_added_to_the_residual_stream_by_the_block(clip, hooked, tower, block):
    adapters = {("attention", block): Probe(0.25), ("mlp", block): Probe(-0.5)}
    layer = clip.towers[tower].blocks[block]
    seen: list = []
    notes = [record(layer, seen), record(layer.layer_norm2, seen), record(layer.mlp.fc2, seen, "output")]
    notes.append(record(layer.self_attn.out_proj, seen, "output"))
    notes.append(record(layer, seen, "output"))
    hooked(tower, adapters)
    run(clip, tower)
    for note in notes:
        note.remove()
    attention, middle, mlp, entering, leaving = seen  # in the order in which the modules finish
    assert torch.allclose(middle, entering + attention + 0.25, atol=1e-6)
    assert torch.allclose(leaving, middle + mlp - 0.5, atol=1e-6)


@pytest.mark.parametrize("tower", ["vision", "text"])
@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_an_adapter_may_take_the_input_of_its_site(clip, hooked, tower, part):
    layer = clip.towers[tower].part(part, 0)
    norm = getattr(clip.towers[tower].blocks[0], "layer_norm1" if part == "attention" else "layer_norm2")
    inner = layer.q_proj if part == "attention" else layer.fc1
    seen: list = []
    notes = [record(norm, seen, "output"), record(inner, seen)]
    hooked(tower, {(part, 0): InputProbe(0.5)})
    run(clip, tower)
    for note in notes:
        note.remove()
    before, entering = seen
    assert torch.equal(entering, before + 0.5)


@pytest.mark.parametrize("tower", ["vision", "text"])
@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_an_adapter_may_take_both_input_and_output(clip, hooked, tower, part):
    norm = getattr(clip.towers[tower].blocks[0], "layer_norm1" if part == "attention" else "layer_norm2")
    plain, adapted, norms = [], [], []
    probe = BothProbe(0.25)
    notes = [clip.towers[tower].part(part, 0).register_forward_hook(lambda *call: plain.append(call[2]))]
    notes.append(record(norm, norms, "output"))
    hooked(tower, {(part, 0): probe})
    notes.append(clip.towers[tower].part(part, 0).register_forward_hook(lambda *call: adapted.append(call[2])))
    run(clip, tower)
    for note in notes:
        note.remove()
    one, other = (value[0] if isinstance(value, tuple) else value for value in (plain[0], adapted[0]))
    assert torch.equal(other, one + 0.25)
    assert type(plain[0]) is type(adapted[0])
    assert torch.equal(probe.entering, norms[0])


@pytest.mark.parametrize("tower", ["vision", "text"])
@pytest.mark.parametrize("kind", [Probe, InputProbe, BothProbe])
def test_an_adapter_of_a_block_acts_before_or_after_it(clip, hooked, tower, kind):
    block, seen = clip.towers[tower].blocks[0], []
    notes = [record(block, seen), record(block, seen, "output"), record(block.layer_norm1, seen)]
    run(clip, tower)
    before = seen[:]
    hooked(tower, {("block", 0): kind(0.5)})
    seen.clear()
    run(clip, tower)
    for note in notes:
        note.remove()
    inner, entering, leaving = seen  # the norm finishes first
    assert torch.equal(entering, before[1])
    assert torch.equal(inner, entering + 0.5 if kind is InputProbe else entering)
    assert torch.equal(leaving, before[2] + 0.5) == (kind is not InputProbe)


def test_prompts_of_a_block_enter_before_its_adapter(clip, hooked):
    flow, seen = Flow(prompts=prompts(2)), []
    notes = [record(clip.towers["vision"].blocks[1].layer_norm1, seen)]
    hooked("vision", {("block", 1): InputProbe(0.5)}, depth=2, flow=flow)
    run(clip, "vision")
    notes[0].remove()
    assert torch.allclose(seen[0][:, 5:], (flow.prompts[1] + 0.5).expand(6, -1, -1))


def test_vision_prompts_join_behind_the_patches_before_the_norm_and_are_replaced(clip, hooked):
    flow, seen = Flow(prompts=prompts(2)), []
    vision = clip.clip.vision_model
    bare: list = []
    note = record(vision.embeddings, bare, "output")
    run(clip, "vision")
    note.remove()
    notes = [record(vision.pre_layrnorm, seen), record(vision.encoder.layers[1], seen)]
    hooked("vision", depth=2, flow=flow)
    output = run(clip, "vision")
    for note in notes:
        note.remove()
    first, second = seen
    assert torch.equal(first, torch.cat([bare[0], flow.prompts[0].expand(6, -1, -1)], dim=1))
    assert torch.equal(second[:, 5:], flow.prompts[1].expand(6, -1, -1))
    assert output.shape == (6, 5 + LENGTH, 32)


def test_text_prompts_take_the_places_after_the_start_token_and_their_positions(clip, hooked):
    flow, seen = Flow(prompts=prompts(2)), []
    text = clip.clip.text_model
    notes = [record(text.encoder.layers[0], seen), record(text.encoder.layers[1], seen)]
    run(clip, "text")
    hooked("text", depth=2, flow=flow)
    output = run(clip, "text")
    for note in notes:
        note.remove()
    bare, _, first, second = seen
    places = slice(1, 1 + LENGTH)
    positions = text.embeddings.position_embedding.weight[places]
    assert torch.equal(first[:, places], (flow.prompts[0] + positions).expand(2, -1, -1))
    assert torch.equal(second[:, places], flow.prompts[1].expand(2, -1, -1))
    assert torch.equal(first[:, 0], bare[:, 0])
    assert torch.equal(first[:, 1 + LENGTH :], bare[:, 1 + LENGTH :])
    assert output.shape == (2, 9, 32)


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_depth_one_leaves_later_blocks_alone(clip, hooked, tower):
    flow, seen = Flow(prompts=prompts(1)), []
    first, second = clip.towers[tower].blocks
    notes = [record(first, seen, "output"), record(second, seen)]
    hooked(tower, depth=1, flow=flow)
    run(clip, tower)
    for note in notes:
        note.remove()
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_removal_restores_the_bare_tower_exactly(clip, hooked, tower):
    keys, before = list(clip.clip.state_dict()), run(clip, tower)
    places = [(part, block) for part in ("attention", "mlp") for block in range(2)]
    handles = hooked(tower, {place: Probe(0.5) for place in places}, depth=2, flow=Flow(prompts=prompts(2)))
    assert list(clip.clip.state_dict()) == keys, "adapters are no part of CLIP"
    during = run(clip, tower)
    assert during.shape != before.shape or not torch.equal(during, before)
    for handle in handles:
        handle.remove()
    assert torch.equal(run(clip, tower), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in clip.clip.modules())


def test_an_adapter_may_stand_on_a_module_that_returns_a_tuple_or_a_tensor(clip, hooked):
    block = clip.towers["vision"].blocks[0]
    outputs = []
    notes = [part.register_forward_hook(lambda *call: outputs.append(call[2])) for part in (block.self_attn, block.mlp)]
    hooked("vision", {("attention", 0): Probe(1.0), ("mlp", 0): Probe(1.0)})
    adapted = []
    notes += [
        part.register_forward_hook(lambda *call: adapted.append(call[2])) for part in (block.self_attn, block.mlp)
    ]
    run(clip, "vision")
    for note in notes:
        note.remove()
    assert [type(output) for output in outputs] == [type(output) for output in adapted] == [tuple, torch.Tensor]
    assert torch.equal(adapted[0][0], outputs[0][0] + 1)
    assert adapted[0][1:] == outputs[0][1:]
