"""Load a backbone of any family by its name: a Hub id, a folder, a file, or the demo's."""

import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoTokenizer, CLIPConfig, Siglip2Model
from transformers.utils.hub import cached_file

from peclip.clip_format import ClipFormat
from peclip.demo import CLIP as DEMO_FOLDER
from peclip.errors import InputError, first_line, shown
from peclip.files import check_regular
from peclip.model.backbones.checks import check_sizes, check_tokenizer, check_tokenizer_files, quiet, read_settings
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.contract import Backbone, Pixels
from peclip.model.backbones.file import load_file
from peclip.model.backbones.freeze import freeze
from peclip.model.backbones.metaclip2 import MetaCLIP2
from peclip.model.backbones.open_clip import CONFIG as OPEN_CLIP
from peclip.model.backbones.open_clip import load_open_clip
from peclip.model.backbones.openai import HUB
from peclip.model.backbones.siglip import SigLIP, check_config, fixed_size
from peclip.model.hub import on_hub
from peclip.model.weights import check_weights

DEMO = "demo"
"""The backbone name of the small CLIP that comes with peclip."""

FAMILIES: dict[str, type[Any]] = {"clip": CLIP, "metaclip_2": MetaCLIP2, "siglip": SigLIP, "siglip2": SigLIP}
"""Families of Hugging Face's models by the model type in config.json; the fixed sizes of SigLIP 2 have that of SigLIP."""

WORKING = "CLIP, MetaCLIP 2, SigLIP or SigLIP 2 (model_type clip, metaclip_2, siglip or siglip2)"

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer_config.json")
"""Files by which a folder shows that it has a tokenizer; files and folders without one have CLIP's."""

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")

PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")


def load_backbone(name: str) -> Backbone:
    """Load a backbone and its tokenizer in fp32 and freeze it.

    Args:
        name: a Hub id such as ``openai/clip-vit-base-patch16`` or ``google/siglip2-base-patch16-224``; a folder that
            ``save_pretrained`` wrote; a folder of open_clip; a file of weights in OpenAI's layout, such as FaRL's; or ``demo``.

    Raises:
        InputError: there is no such backbone here and it cannot be fetched, it is of another family or format, it is
            incomplete, a weight is not finite, or its tokenizer is another's.
    """
    source = _source(name)
    with _advising(name, source):
        if os.path.isfile(source):
            backbone: Backbone = load_file(name, Path(source))
        elif _is_open_clip(source):
            backbone = load_open_clip(name, Path(source))
        else:
            backbone = _load_huggingface(name, source)
        ClipFormat(mean=backbone.mean, std=backbone.std)  # checks what a stranger's file states
        if not all(0 <= value <= 1 for value in (*backbone.mean, *backbone.std)):
            raise ValueError(
                f"mean and std of its pixels are {backbone.mean} and {backbone.std}, expected those of pixels from 0 to 1"
            )
    check_weights(dict(backbone.clip.named_parameters()), f"backbone {name!r}")
    backbone = replace(backbone, tokenizer=load_tokenizer(name))
    check_tokenizer(backbone)
    return backbone


def load_tokenizer(name: str) -> Any:
    """Load the tokenizer of a backbone.

    Args:
        name: name as for :func:`load_backbone`. A file, or a folder of open_clip, without tokenizer files has CLIP's tokenizer.

    Raises:
        InputError: it is not here and cannot be fetched.
    """
    source, config = _source(name), None
    if os.path.isfile(source) or _is_open_clip(source):
        source = os.path.dirname(source) or "." if os.path.isfile(source) else source
        config = CLIPConfig()
        if not any(os.path.isfile(os.path.join(source, file)) for file in TOKENIZER_FILES):
            return load_tokenizer_of_clip(name)
    with _advising(name, source), quiet():
        check_tokenizer_files(source)
        try:
            return AutoTokenizer.from_pretrained(source, config=config, trust_remote_code=False)
        except OSError:  # there is none
            raise
        except ImportError as error:  # the tokenizer of SigLIP 1 needs sentencepiece
            raise ValueError("its tokenizer needs sentencepiece: pip install 'peclip[siglip]'") from error
        except Exception as error:
            raise ValueError(f"its tokenizer cannot be read: {first_line(error)}") from error


def load_tokenizer_of_clip(name: str) -> Any:
    """Load the tokenizer that all of OpenAI's CLIPs share, for a backbone that has none.

    Raises:
        InputError: it is not here and cannot be fetched.
    """
    usual = HUB[768, 12, 16, 224]
    try:
        return load_tokenizer(usual)
    except InputError as error:
        raise InputError(
            f"backbone {name!r} has no tokenizer files, and those of CLIP could not be fetched from the Hub: on a machine with a "
            f"network run hf download {usual}, or copy its {', '.join(TOKENIZER_FILES)} beside the weights",
            "backbone",
        ) from error


def _load_huggingface(name: str, source: str) -> Backbone:
    """Load a model of transformers, without its tokenizer.

    Raises:
        InputError: it is of a family that does not work, or is incomplete.
        Exception: of many kinds, from numbers that make no model.
    """
    path = cached_file(source, "config.json", _raise_exceptions_for_missing_entries=not os.path.isdir(source))
    if path is None:
        raise InputError("it has no config.json")
    plain = read_settings(path)
    family = FAMILIES.get(str(plain.get("model_type")))
    if family is None:
        raise InputError(_other_family(plain))
    kind: Any = Siglip2Model if plain["model_type"] == "siglip2" else family.model_class
    with quiet():
        config = kind.config_class.from_dict(plain)
        # What a pass returns is not for the folder to decide.
        for part in (config, config.text_config, config.vision_config):
            part.return_dict, part.output_attentions, part.output_hidden_states = True, False, False
        check_sizes(config, Path(source))
        if family is SigLIP:
            check_config(config)
        model, report = kind.from_pretrained(
            source, config=config, dtype="float32", ignore_mismatched_sizes=True, output_loading_info=True
        )
    # transformers leaves a weight that is missing, or has another shape than config.json says, random with a warning.
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise Incomplete(f"missing or mis-shaped weights: {absent[0]}{more}")
    model = fixed_size(model) if kind is Siglip2Model else freeze(model)
    return family(name, model, None, _read_pixels(source))


class Incomplete(ValueError):
    """A model lacks weights."""


def _read_pixels(source: str) -> Pixels | None:
    """Return mean and standard deviation of the pixels as the preprocessor's configuration states them; None without one.

    Raises:
        ValueError: it states something else than three numbers each, or scales pixels to something else than [0, 1].
    """
    for file in PREPROCESSORS:
        path = cached_file(
            source,
            file,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path is None:
            continue
        plain = read_settings(path)
        plain = plain["image_processor"] if isinstance(plain.get("image_processor"), dict) else plain
        if not plain.get("do_rescale", True):
            raise ValueError(f"{file} has do_rescale false, so that pixels are from 0 to 255, expected from 0 to 1")
        if not plain.get("do_normalize", True):
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        found = plain.get("image_mean"), plain.get("image_std")
        if found == (None, None):
            continue
        for key, values in zip(("image_mean", "image_std"), found, strict=True):
            if not (isinstance(values, list) and len(values) == 3 and all(type(v) in (int, float) for v in values)):
                raise ValueError(f"{file} has {key} {shown(values)}, expected three numbers")
        factor = plain.get("rescale_factor", 1 / 255)
        if type(factor) not in (int, float) or abs(factor * 255 - 1) > 1e-3:
            raise ValueError(f"{file} has rescale_factor {shown(factor)}, expected 1/255")
        return tuple(map(float, found[0])), tuple(map(float, found[1]))  # type: ignore[arg-type, return-value]
    return None


def _source(name: str) -> str:
    """Return the folder, file or Hub id of a backbone; files can be read to their end."""
    source = str(DEMO_FOLDER) if name == DEMO else name
    if not os.path.exists(source) and _may_be_on_hub(name):
        with _advising(name, source), quiet():
            source = on_hub(name)
    for path in Path(source).iterdir() if os.path.isdir(source) else (source,):  # Path.is_dir raises for some names
        if not os.path.isdir(path):
            check_regular(path)
    return source


def _may_be_on_hub(name: str) -> bool:
    """Return whether a name that is no path could be a repository's, rather than that of a misspelt file."""
    return bool(_HUB_ID.fullmatch(name)) and Path(name).suffix not in (".pt", ".pth", ".bin", ".ckpt")


def _is_open_clip(source: str) -> bool:
    folder = Path(source)
    return os.path.isdir(source) and (folder / OPEN_CLIP).is_file() and not (folder / "config.json").is_file()


def _other_family(plain: dict[str, Any]) -> str:
    """Describe a config.json that belongs to no family."""
    if {"backbone", "adapters", "labels"} <= plain.keys():
        return "it is a package of peclip, a trained model: use it with --ckpt_path or --init_from"
    return f"it is a {shown(plain.get('model_type'))}, expected {WORKING}"


def _family(source: str) -> str:
    """Return the family that the folder of a backbone claims to be of; CLIP if it claims none."""
    try:
        return FAMILIES[read_settings(os.path.join(source, "config.json"))["model_type"]].family
    except (OSError, ValueError, LookupError, TypeError, InputError):  # a config.json from anyone
        return CLIP.family


@contextmanager
def _advising(name: str, source: str) -> Iterator[None]:
    """Convert any error within the context to one line that says what to do."""
    try:
        yield
    except Incomplete as error:
        raise InputError(f"backbone {name!r} is incomplete: {error}", "backbone") from error
    except Exception as error:  # numbers that make no model raise many kinds
        raise InputError(_advice(name, source, error), "backbone") from error


def _advice(name: str, source: str, error: Exception) -> str:
    if os.path.isfile(source) or _is_open_clip(source):
        what = f"it has no tensor {error.args[0]!r}" if isinstance(error, KeyError) else first_line(error)
        what = what.removeprefix(f"{source}: ").rstrip(" :.")
        return f"backbone {name!r} cannot be loaded as a CLIP: {what}"
    if os.path.isdir(source) or not isinstance(error, OSError):  # Path.is_dir raises for some names
        reason = first_line(error).rstrip(" :.")
        if isinstance(error, StrictDataclassError):  # its first line does not say what is wrong
            reason = first_line(ValueError(" ".join(str(error).split())))
        if isinstance(error, KeyError):
            reason = f"{reason} is missing or unknown"
        if isinstance(error, pickle.UnpicklingError):  # its own words recommend loading unsafely
            reason = "the weights are a pickle of more than tensors"
        if os.path.isdir(os.path.join(source, "checkpoints")) and not os.path.exists(
            os.path.join(source, "config.json")
        ):
            reason = "it is a run of peclip, a trained model: use it with --ckpt_path or --init_from"
        return (
            f"backbone {name!r} cannot be loaded as a {_family(source)} (expected config.json, model.safetensors and the "
            f"tokenizer files): {reason}"
        )
    if not _may_be_on_hub(name):
        return f"backbone {name!r} is neither a folder nor a file"
    return (
        f"backbone {name!r} is neither a folder nor a file nor in the local Hugging Face cache, and could not be fetched from "
        f"the Hub: on a machine with a network run hf download {name}, or name the folder of a copy, or {DEMO}"
    )
