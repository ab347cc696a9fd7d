"""Read what training left behind, wherever it is: a run, a .ckpt, a package, a Hub id or a released .pth."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peclip.errors import InputError, first_line
from peclip.model.backbones.clip import load_backbone
from peclip.model.io.package import CONFIG, fetch_package, is_hub_id, read_package
from peclip.model.io.released import load_released
from peclip.model.io.spec import resolve
from peclip.model.io.torch_file import read_checkpoint
from peclip.model.io.trained import DEFAULT_FRAMES, Config, Trained, check_config, check_labels, state_sum, with_input
from peclip.model.parts.adapters import Adapter
from peclip.model.parts.prompts import MaPLe
from peclip.model.peclip import PEClip
from peclip.results.card import read_run


def read_trained(source: str | Path) -> Trained:
    """Read a trained PE-CLIP without building it.

    Args:
        source: the folder of a run (its best checkpoint, or its last), a ``.ckpt`` file, the folder of a package or its
            id on the Hub, or a checkpoint of the authors' released program (``.pth``).

    Raises:
        InputError: there is nothing of the kind; it is torn, corrupt, not peclip's or of a newer version; or it names
            classes that are no adapters or prompts. Nothing that it pickles is run.
    """
    path = Path(source)
    if path.is_dir():
        return _read_folder(path)
    if path.is_file():
        return _read_ckpt(path) if path.suffix == ".ckpt" else from_released(load_released(path), str(path))
    if is_hub_id(str(source)):
        return fetch_package(str(source))
    raise InputError(
        f"{source}: no such file or folder; expected a run, a .ckpt, a package, a released .pth or a Hub id OWNER/NAME"
    )


def rebuild(trained: Trained, backbone: str | None = None) -> PEClip:
    """Build the model that was trained, in evaluation mode.

    Labels, class texts, logit scale and weights are as they were trained; ``net.config["input"]`` says what clips it
    takes.

    Args:
        trained: from :func:`read_trained`.
        backbone: where the CLIP is, if not at the name that it had in training: a Hub id or a folder.

    Raises:
        InputError: the backbone is not there or is another one, or the weights do not fit the configuration.
    """
    config, source = trained.config, trained.source
    factories: Any = {site: resolve(spec, Adapter) for site, spec in config["adapters"].items()}
    prompts: Any = resolve(config["prompts"], MaPLe) if config["prompts"] else None
    scale, labels = config["logit_scale"], config["labels"]
    name = backbone or config["backbone"]
    try:
        if "token_ids" in config:
            clip = trained.backbone if trained.backbone and not backbone else load_backbone(name)
            net = PEClip.assemble(clip, torch.tensor(config["token_ids"]), labels, factories, prompts, scale)
        else:
            net = PEClip(labels, name, factories, prompts, config["texts"], scale)
    except InputError as error:
        raise InputError(f"{source} does not fit its backbone {name!r}: {error}") from error
    except (TypeError, ValueError, RuntimeError) as error:  # from a class with arguments that are not its own
        raise InputError(f"{source}: its adapters or prompts cannot be built: {first_line(error)}") from error
    _check_backbone(trained, net)
    net.load_trainable(trained.state, source)
    net.config["input"] = config["input"]
    if known := config.get("run"):
        net.config |= {"run": known, "run_weights": state_sum(net.trainable_state())}
    return net.eval()


def check_fits(trained: Trained, net: PEClip) -> None:
    """Check that a model built from other settings would compute with trained weights what they were trained for.

    Raises:
        InputError: it has other labels, another CLIP, other class texts or another logit scale.
    """
    config, source = trained.config, trained.source
    check_labels(config, net.labels, source)
    _check_backbone(trained, net)
    if config["logit_scale"] != net.logit_scale:
        scale = config["logit_scale"]
        raise InputError(
            f"{source} was trained with logit_scale {scale}, not {net.logit_scale}: give model.net.logit_scale"
        )
    if "texts" in config and "texts" in net.config:
        known, given = config["texts"], net.config["texts"]
        other = [label for label in net.labels if known[label] != given[label]]
    else:
        known, given = _bare_ids(config, net), _bare_ids(net.config, net)
        other = [label for label, one, two in zip(net.labels, known, given, strict=True) if one != two]
    if other:
        raise InputError(
            f"{source} was trained with another class text for {other[0]!r}: give model.net.texts.{other[0]}"
        )


def _check_backbone(trained: Trained, net: PEClip) -> None:
    if net.config["fingerprint"] != trained.config["fingerprint"]:
        raise InputError(
            f"{trained.source} was trained on another CLIP than the one at {net.backbone.name!r}, whose weights differ: "
            "give the backbone that it was trained on"
        )


def _bare_ids(config: Config, net: PEClip) -> list[list[int]]:
    """Return the token ids of the class texts without placeholders and padding, a row per class."""
    ids = torch.tensor(config["token_ids"]) if "token_ids" in config else net.token_ids.cpu()
    start = 1 + net.prompt_length
    return [row[start : int(row.argmax()) + 1].tolist() for row in ids]


def from_net(net: PEClip) -> Trained:
    """Return a model in memory as plain data.

    PE-CLIP's own clips are assumed where nothing is known of them. What is known of the training stays with the weights
    that came of it, and is left out when these have changed since.
    """
    state, clips = (
        net.trainable_state(),
        {"num_frames": DEFAULT_FRAMES, "image_size": net.image_size, "normalize": "clip"},
    )
    config = with_input(net.config, **(clips | net.config.get("input", {})))
    if "run" in net.config and state_sum(state) == net.config["run_weights"]:
        config["run"] = net.config["run"]
    return Trained(config, state, "this model")


def from_released(net: PEClip, source: str) -> Trained:
    """Take a model from the released program's checkpoint apart into plain data and the CLIP that came with it.

    Args:
        net: from :func:`peclip.model.load_released`.
        source: where it comes from, for messages.
    """
    config = with_input(net.config, DEFAULT_FRAMES, net.image_size, "none")  # pixels in [0, 1], as they are
    return Trained(config, net.trainable_state(), source, net.detach())


def with_record(trained: Trained) -> Trained:
    """Add what the run of a checkpoint tells of its training; scores only to the checkpoint that they were measured of.

    Raises:
        InputError: metrics.json or config.yaml of the run is torn.
    """
    file = Path(trained.source)
    if file.suffix != ".ckpt" or file.parent.name != "checkpoints":
        return trained
    known = read_run(file.parents[1])
    if known and file.stem != "best":
        known = replace(known, scores=None)
    return trained._replace(config=trained.config | {"run": known and known.as_json()})


def _read_folder(path: Path) -> Trained:
    if (path / CONFIG).exists():
        return read_package(path)
    for name in ("best", "last"):
        if (file := path / "checkpoints" / f"{name}.ckpt").is_file():
            return _read_ckpt(file)
    inside = sorted(path.glob("*/checkpoints/*.ckpt"), key=lambda file: file.stat().st_mtime)
    hint = f"; it holds runs, the latest is {inside[-1].parent.parent}" if inside else ""
    raise InputError(f"{path} is neither a run (checkpoints/best.ckpt) nor a package ({CONFIG}){hint}")


def _read_ckpt(path: Path) -> Trained:
    content = read_checkpoint(path)
    if "peclip" not in content:
        raise InputError(f"{path} was not written by peclip: it does not name labels and adapters")
    config = check_config(content["peclip"], str(path))
    state = content.get("state_dict")
    if not isinstance(state, dict) or not all(_is_weight(name, value) for name, value in state.items()):
        raise InputError(f"{path}: its state_dict holds more than the tensors of adapters and prompts")
    return Trained(config, {name.removeprefix("net."): value for name, value in state.items()}, str(path))


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)
