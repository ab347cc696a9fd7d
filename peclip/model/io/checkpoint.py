"""Read a trained model wherever it is: a run, a .ckpt, a package, a Hub id or a released .pth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from peclip.errors import InputError
from peclip.files import natural_key
from peclip.model.io.package import CONFIG, fetch_package, is_hub_id, read_package
from peclip.model.io.released import read_released
from peclip.model.io.trained import ModelConfig, Trained
from peclip.model.torch_file import check_plain, read_checkpoint

ENTRY = "peclip"
"""Entry of a Lightning checkpoint that holds :meth:`ModelConfig.to_plain`."""

SELECTING = "BestCheckpoint"
"""Beginning of the name, among the callbacks of a checkpoint, of the one that has chosen the best of them."""


def read_trained(source: str | Path) -> Trained:
    """Read a trained PE-CLIP without building it.

    Args:
        source: the folder of a run (its best checkpoint, or its last), a ``.ckpt`` file, the folder of a package or its
            id on the Hub, or a checkpoint of the authors' released program (``.pth``).

    Raises:
        InputError: it does not exist; it is damaged, not from peclip or from a newer version; or it names classes
            that are not adapters or prompts. Nothing that it pickles is run.
    """
    path = Path(source)
    if path.is_dir():
        return _read_folder(path)
    if path.is_file():
        return _read_ckpt(path) if path.suffix == ".ckpt" else read_released(path)
    if is_hub_id(str(source)):
        return fetch_package(str(source))
    if str(source) == "last":
        latest = _latest_run(Path("runs"))
        raise InputError(
            "last: no such file or folder; --ckpt_path last is for peclip fit, validate, test and predict: name the folder of a run"
            f"{f', such as {latest}' if latest else ''}"
        )
    raise InputError(
        f"{source}: no such file or folder, expected a run, a .ckpt, a package, a released .pth or a Hub id OWNER/NAME"
    )


def from_checkpoint(content: Mapping[str, Any], source: str) -> Trained:
    """Return the model in a Lightning checkpoint of peclip.

    Args:
        content: content of the file.
        source: name of the file, for messages.

    Raises:
        InputError: it is not from peclip or from a newer version, or an entry is wrong.
    """
    if ENTRY not in content:
        raise InputError(f"{source} was not written by peclip: it does not name labels and adapters")
    check_plain(content[ENTRY], source)
    config = ModelConfig.from_plain(content[ENTRY], source)
    state = content.get("state_dict")
    if not isinstance(state, dict) or not all(_is_weight(name, value) for name, value in state.items()):
        raise InputError(f"{source}: its state_dict holds more than the tensors of adapters and prompts")
    return Trained(config, {name.removeprefix("net."): value for name, value in state.items()}, source)


def to_checkpoint(trained: Trained) -> dict[str, Any]:
    """Return the entries of a Lightning checkpoint from which :func:`from_checkpoint` reads a model."""
    return {
        ENTRY: trained.config.to_plain(),
        "state_dict": {f"net.{name}": value for name, value in trained.state.items()},
    }


def _read_folder(path: Path) -> Trained:
    if (path / CONFIG).exists():
        return read_package(path)
    folder = path / "checkpoints"
    best, last = folder / "best.ckpt", folder / "last.ckpt"
    if last.is_file() and (not best.is_file() or any(folder.glob("best-v*.ckpt"))):
        return _read_ckpt(_best_of(last) or last)
    if best.is_file():
        return _read_ckpt(best)
    if (path / "adapter_config.json").exists():
        raise InputError(
            f"{path} is an adapter that Hugging Face PEFT has saved, expected a run, a package or a checkpoint of peclip: it can be "
            "merged into its CLIP (merge_and_unload, save_pretrained), to be the backbone"
        )
    latest = _latest_run(path)
    hint = f"; it contains runs, the latest is {latest}" if latest else ""
    raise InputError(f"{path} is neither a run (checkpoints/best.ckpt) nor a package ({CONFIG}){hint}")


def _latest_run(folder: Path) -> Path | None:
    """Return the run in a folder, or in the folders of names in it, whose checkpoint is the latest; None if there is none."""
    found = [*folder.glob("*/checkpoints/*.ckpt")] or [*folder.glob("*/*/checkpoints/*.ckpt")]
    latest = max(found, key=lambda file: (file.stat().st_mtime, natural_key(str(file))), default=None)
    return latest.parent.parent if latest else None


def within(path: str, folder: str) -> Path:
    """Return the path of a checkpoint within the folder of checkpoints: a name made of a score, ``val/war``, is in a folder there."""
    inside = Path(path).parts[len(Path(folder).parts) :] if Path(path).is_relative_to(folder) else ()
    return Path(*inside) if inside and ".." not in inside else Path(Path(path).name)


def _best_of(last: Path) -> Path | None:
    """Return the best checkpoint of a run by the state of its last one: checkpoint.filename may have named it otherwise.

    Raises:
        InputError: it is missing, or the last one is damaged.
    """
    callbacks = read_checkpoint(last).get("callbacks")
    states = (
        [state for name, state in callbacks.items() if str(name).startswith(SELECTING)]
        if isinstance(callbacks, dict)
        else []
    )
    state = states[0] if states and isinstance(states[0], dict) else {}
    chosen, folder = state.get("best_model_path"), state.get("dirpath")
    if not isinstance(chosen, str) or not chosen:
        return None
    if not (found := last.parent / within(chosen, str(folder))).is_file():
        raise InputError(f"{found}, the best checkpoint of the run, is missing; {last} is a model, too")
    return found


def _read_ckpt(path: Path) -> Trained:
    return from_checkpoint(read_checkpoint(path), str(path))


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)
