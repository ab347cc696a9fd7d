"""A model is named after the parts of its configuration."""

from dataclasses import replace
from functools import partial

import pytest

from peclip import model
from peclip.model import PE_CLIP, SharedAdapter
from peclip.model.io.spec import Spec, describe
from peclip.model.naming import method_name

DEFAULT = {"adapters": PE_CLIP, "prompts": model.MaPLe}
NOTHING = {"adapters": {}, "prompts": None}


class Derived(SharedAdapter):
    """A part of somebody's own, derived from one of ours."""


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (DEFAULT, "PE-CLIP"),
        ({**DEFAULT, "prompts": None}, "PE-CLIP without MaPLe"),
        ({**DEFAULT, "adapters": {site: PE_CLIP[site] for site in PE_CLIP if site != "vision.mlp"}}, "PE-CLIP without TDA"),
        ({**DEFAULT, "adapters": {site: PE_CLIP[site] for site in PE_CLIP if "attention" not in site}}, "PE-CLIP without ShA"),
        (
            {**DEFAULT, "adapters": {site: PE_CLIP[site] for site in PE_CLIP if site != "text.attention"}},
            "PE-CLIP without ShA at text.attention",
        ),
        ({"adapters": {"vision.mlp": PE_CLIP["vision.mlp"]}, "prompts": None}, "TDA"),
        ({**DEFAULT, "adapters": {"vision.mlp[6:12]": PE_CLIP["vision.mlp"]}}, "TDA + MaPLe"),
        ({**DEFAULT, "adapters": PE_CLIP | {"vision.mlp": Derived}}, "ShA + Derived + TA + MaPLe"),
        ({"adapters": {"vision.block": model.STAdapter}, "prompts": None}, "ST-Adapter"),
        ({"adapters": {"vision.mlp": partial(model.AdaptFormer, hidden=146)}, "prompts": model.VPT}, "AdaptFormer (hidden=146) + VPT"),
        ({**DEFAULT, "temporal": model.GRUHead, "norms": "text"}, "PE-CLIP + GRU head + text norms"),
        ({**NOTHING, "norms": "both"}, "norms"),
        ({**NOTHING, "peft": Spec("peft.LoraConfig", {"lora_alpha": 16, "target_modules": ["q"]})}, "LoRA (r=8, lora_alpha=16)"),
        (NOTHING, "zero-shot CLIP"),
    ],
)  # fmt: skip
def test_a_model_is_named_after_the_parts_of_its_configuration(tiny_config_of_model, parts, name):
    assert method_name(tiny_config_of_model(**parts)) == name


@pytest.fixture
def tiny_config_of_model(tiny_run):
    """The configuration of the tiny model with other parts, none of which is built."""
    config = model.read_trained(tiny_run).config

    def make(adapters, prompts, temporal=None, **others):
        return replace(
            config,
            adapters={site: describe(factory) for site, factory in adapters.items()},
            prompts=describe(prompts) if prompts else None,
            temporal=describe(temporal) if temporal else None,
            **others,
        )

    return make
