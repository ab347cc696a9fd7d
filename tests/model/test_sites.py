import pytest

from peclip.errors import InputError
from peclip.model.sites import SITES, expand_site

BLOCKS = {"vision": 4, "text": 4}


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("vision.mlp", [0, 1, 2, 3]),
        ("vision.attention[1:3]", [1, 2]),
        ("text.mlp[2:]", [2, 3]),
        ("text.attention[:1]", [0]),
        ("vision.mlp[:]", [0, 1, 2, 3]),
        ("vision.mlp[-2:]", [2, 3]),
        ("vision.mlp[:-1]", [0, 1, 2]),
        ("vision.mlp[-3:-1]", [1, 2]),
        ("vision.mlp[2:99]", [2, 3]),
    ],
)
def test_site_selects_blocks_as_a_slice_does(site, expected):
    tower, part = site.split("[")[0].split(".")
    assert expand_site(site, BLOCKS) == [(tower, part, block) for block in expected]


@pytest.mark.parametrize(
    "site",
    [
        *("vision", "vision.", "mlp", "vision.mpl", "audio.mlp", "", "vision.mlp.0", "Vision.mlp", " vision.mlp"),
        *(
            "vision.mlp[3]",
            "vision.mlp[0:4:2]",
            "vision.mlp[-:3]",
            "vision.mlp[:-]",
            "vision.mlp[a:b]",
            "vision.mlp[1:",
        ),
    ],
)
def test_unknown_site_is_refused_and_the_valid_ones_are_listed(site):
    with pytest.raises(InputError) as caught:
        expand_site(site, BLOCKS)
    assert repr(site) in str(caught.value)
    assert all(valid in str(caught.value) for valid in SITES)


@pytest.mark.parametrize("site", ["vision.mlp[4:]", "vision.mlp[2:2]", "vision.mlp[3:1]", "vision.mlp[:-4]"])
def test_site_that_matches_no_block_is_refused(site):
    with pytest.raises(InputError, match=r"matches no block, vision.mlp has blocks 0 to 3"):
        expand_site(site, BLOCKS)
