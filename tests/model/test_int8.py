from copy import deepcopy

import pytest
import torch

from peclip.errors import InputError
from peclip.inference import recognizer
from peclip.inference.recognizer import Recognizer
from peclip.labels import SEVEN
from peclip.model import PEClip
from peclip.model.fast import int8
from peclip.model.fast.frozen import QuickGELU
from peclip.model.fast.int8 import Int8Linear, in_int8


@pytest.fixture(scope="module")
def net(tiny_clip) -> PEClip:
    torch.manual_seed(0)
    net = PEClip(SEVEN, str(tiny_clip), logit_scale=10, num_frames=4).eval()
    for weight in net.adapters.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return net


def test_the_image_tower_is_quantised_in_a_copy(net):
    video = torch.randn(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = net(video)
        copy = in_int8(net)
        after, again = copy(video), net(video)
    assert torch.equal(before, again)
    assert not torch.equal(before, after)
    assert (before - after).abs().max() < 0.05 * before.std() * 10
    layers = [module for module in copy.modules() if isinstance(module, Int8Linear)]
    blocks = net.backbone.towers["vision"].blocks
    linear = sum(type(module) is torch.nn.Linear for block in blocks for module in block.modules())
    assert len(layers) == linear - 2 * (len(blocks) - 1)  # queries, keys and values are one, but not in the last block
    pairs = zip(net.adapters.parameters(), copy.adapters.parameters(), strict=True)
    assert all(one is other for one, other in pairs)


def test_a_layer_is_close_to_its_original():
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 48)
    x = torch.randn(5, 7, 64)
    expected = layer(x)
    layer.__class__ = Int8Linear
    layer.pack()
    assert (layer(x) - expected).abs().max() < 0.05
    assert not list(layer.parameters())


@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_each_piece_has_a_scale_of_its_own_and_results_keep_their_places(part, net, monkeypatch):
    layer = in_int8(net).backbone.towers["vision"].part(part, 0)
    exact = net.backbone.towers["vision"].part(part, 0)
    tokens = torch.randn(5, 20, layer.out_proj.out_features if part == "attention" else layer.fc1.in_features)
    tokens[3] *= 50  # would leave the other frames one or two of the 256 steps
    monkeypatch.setattr(int8, "ROWS", 40)

    def run(module, frames):
        out = module.forward(hidden_states=frames)
        return out[0] if part == "attention" else out

    with torch.no_grad():
        made, expected = run(layer, tokens), run(exact, tokens)
        assert torch.equal(made, torch.cat([run(layer, piece) for piece in tokens.split(2)]))
    for frames in (slice(0, 2), slice(4, 5)):
        assert (made[frames] - expected[frames]).abs().max() < 0.2 * expected[frames].std()


def test_a_clip_gets_the_same_answer_alone_and_beside_others(net):
    clips = [torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8) for _ in range(3)]
    recognizer = Recognizer(net, "none", precision="int8")
    assert recognizer._classify(clips) == [recognizer._classify([clip])[0] for clip in clips]


def test_what_cannot_be_quantised_is_refused_in_one_line(net, monkeypatch):
    monkeypatch.setattr(recognizer, "find_device", torch.device)
    with pytest.raises(InputError, match="precision int8 is for a CPU: the device is cuda:0"):
        Recognizer(deepcopy(net), "none", device="cuda:0", precision="int8")
    monkeypatch.setattr(int8, "available", list)
    with pytest.raises(InputError, match="this build of torch has no engine for it"):
        in_int8(net)


def test_the_activation_is_the_same_to_the_bit_without_gradients():
    x = torch.randn(100, 33)
    with torch.inference_mode():
        assert torch.equal(QuickGELU()(x), x * torch.sigmoid(1.702 * x))
