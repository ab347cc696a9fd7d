import pytest
import torch

from peclip.errors import InputError
from peclip.model import AdaptFormer
from peclip.testing import check_adapter
from tests.model.small import build, clips, size


@pytest.mark.parametrize("site", ["vision.mlp", "vision.attention", "text.mlp"])
def test_keeps_the_contract(site):
    check_adapter(AdaptFormer, site)


def test_adds_a_bottleneck_of_the_input_to_the_output():
    adapter = AdaptFormer(2, hidden=1, scale=0.5)
    weights = {"down.weight": [[1.0, 2.0]], "down.bias": [0.5], "up.weight": [[3.0], [-1.0]], "up.bias": [0.0, 4.0]}
    adapter.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    out, entering = torch.tensor([[[10.0, 20.0], [10.0, 20.0]]]), torch.tensor([[[1.0, 0.5], [1.0, -2.0]]])
    # W_down x + b = 2.5 and -2.5, the second of which ReLU shuts off
    expected = torch.tensor([[[10 + 0.5 * 7.5, 20 + 0.5 * (4 - 2.5)], [10.0, 20 + 0.5 * 4]]])
    assert torch.equal(adapter(out, 1, entering), expected)


def test_has_the_parameters_of_the_paper():
    """1.19 million in ViT-B/16."""
    assert 12 * size(AdaptFormer(768)) == 12 * (768 * 64 + 64 + 64 * 768 + 768)


def test_gets_the_normalised_input_of_the_mlp(tiny_clip):
    net = build(tiny_clip, adapters={"vision.mlp": AdaptFormer}, prompts=None)
    block, seen, norms = net.backbone.towers["vision"].blocks[0], [], []
    block.layer_norm2.register_forward_hook(lambda *call: norms.append(call[2]))
    net.adapters["vision"]["mlp"]["0"].register_forward_hook(lambda *call: seen.append(call[1][2]))
    net(clips())
    assert torch.equal(seen[0], norms[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "AdaptFormer: hidden is 0, expected at least 1"),
        ({"scale": 0}, "AdaptFormer: scale is 0, expected a number above 0"),
        ({"scale": 1e40}, "AdaptFormer: scale is 1e\\+40, expected a number above 0 and at most 1e\\+38"),
        ({"scale": float("nan")}, "AdaptFormer: scale is nan, expected a number above 0"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        AdaptFormer(32, **options)
