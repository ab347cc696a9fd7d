"""Packages, checkpoints, released files and backbones with absurd settings, damaged bytes and calls of functions.

Each is refused in one line, or becomes a model that answers; none hangs, takes much memory or calls anything.
`python -m tests.stress.fuzz_packages --seconds 600` prints the figures of docs/testing.md; `--only N` judges one case again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peclip.model import PEClip
from peclip.model.backbones.load import load_backbone
from peclip.model.io.checkpoint import ENTRY, to_checkpoint
from tests.conftest import write_tiny_clip
from tests.model.backbones.families import WRITERS, write_family
from tests.model.released_small import as_saved, small_ids, small_state
from tests.model.small import build, clips, stir
from tests.stress.fuzz import damaged
from tests.stress.timed import main, refusal

CANARY = "peclip_canary"
"""Name of a module that leaves a trace where it is imported, and of the trace."""

VALUES: tuple[Any, ...] = (
    *(
        0,
        1,
        -1,
        2,
        3,
        7,
        31,
        64,
        1000,
        10**6,
        10**9,
        2**31,
        2**32,
        2**40,
        2**63,
        2**64,
        10**30,
        10**400,
        True,
        False,
        None,
    ),
    *(
        0.5,
        1.5,
        -0.0,
        1e-300,
        1e30,
        1e300,
        float("nan"),
        float("inf"),
        "",
        " ",
        "x",
        "0",
        "1e9",
        "null",
        "zero",
        "x" * 5000,
    ),
    *(
        "../../x",
        "/etc/passwd",
        "a/b",
        "demo",
        "\x00",
        "\ud800",
        "\x1b[31m",
        "os.system",
        "builtins.exec",
        "peclip.model.PEClip",
    ),
    *(
        "peclip.model.Adapter",
        "peclip.model.MaPLe",
        "torch.nn.Linear",
        f"{CANARY}.Canary",
        "tests.stress.fuzz.main",
        "a.b.c",
    ),
    *([], {}, [[]], [0] * 1000, ["x"] * 1000, {"x": 1}, [[[[[[[[[[[[]]]]]]]]]]]], {"class_path": f"{CANARY}.Canary"}),
    {"class_path": "os.system", "init_args": {"command": f"touch {CANARY}"}},
    {"class_path": "peclip.model.TextAdapter", "init_args": {"reduction": 10**12}},
)
"""Values for an entry of a configuration."""


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def prepare(folder: Path) -> None:
    """Write a package, a checkpoint, a released file and a backbone, and a canary where Python finds modules."""
    write_tiny_clip(folder / "clip")
    net = stir(build(folder / "clip")).eval()
    net.save_pretrained(folder / "package")
    torch.save(to_checkpoint(net.to_trained()), folder / "a.ckpt")
    torch.save(as_saved(small_state()), folder / "a.pth")
    for kind in WRITERS:
        write_family(kind, folder / "families" / kind)
    (folder / "modules").mkdir()
    canary = f"open({str(folder / CANARY)!r}, 'w').close()\nclass Canary: pass\n"
    (folder / "modules" / f"{CANARY}.py").write_text(canary)


def judge(folder: Path, seed: int, number: int) -> str:
    """Judge a file; see :data:`tests.stress.timed.Judge`."""
    rng, place = np.random.default_rng((seed, number)), folder / str(number)
    place.mkdir()
    os.chdir(place)
    if str(folder / "modules") not in sys.path:
        sys.path.append(str(folder / "modules"))
    kind = KINDS[number % len(KINDS)]
    try:
        return kind(folder, place, rng)
    finally:
        shutil.rmtree(place)
        assert not (folder / CANARY).exists(), "the canary was called"
        assert CANARY not in sys.modules, "the canary was imported"


def _model(path: Path, names: Path, read: Callable[[], PEClip] | None = None) -> str:
    """Read a model and let it answer."""
    found: list[PEClip] = []
    if refusal(lambda: found.append(read() if read else PEClip.from_pretrained(path)), str(names)):
        return "refused"
    (net,) = found
    with torch.no_grad():
        assert net(clips(1, side=net.image_size)).shape == (1, len(net.labels))
    return "answered"


def package(folder: Path, place: Path, rng: np.random.Generator) -> str:
    """Change the settings of a package."""
    path = shutil.copytree(folder / "package", place / "package")
    config = path / "config.json"
    config.write_text(json.dumps(changed(json.loads(config.read_text()), rng)))
    return _model(path, path)


def weights(folder: Path, place: Path, rng: np.random.Generator) -> str:
    """Change the weights of a package, with a digest that belongs to them."""
    path = shutil.copytree(folder / "package", place / "package")
    content = (path / "adapters.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    if rng.random() < 0.5:
        header = json.dumps(changed(json.loads(content[8:][:length]), rng)).encode()
        content = struct.pack("<Q", len(header)) + header + content[8 + length :]
    else:
        content = damaged(content, rng)
    (path / "adapters.safetensors").write_bytes(content)
    config = json.loads((path / "config.json").read_text()) | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    (path / "config.json").write_text(json.dumps(config))
    return _model(path, path)


def bytes_of(name: str) -> Callable[[Path, Path, np.random.Generator], str]:
    """Return what damages the bytes of a file."""

    def damage(folder: Path, place: Path, rng: np.random.Generator) -> str:
        path = place / name
        path.write_bytes(damaged((folder / name).read_bytes(), rng))
        return _model(path, path)

    return damage


def archive(folder: Path, place: Path, rng: np.random.Generator) -> str:
    """Pack a checkpoint again: entries compressed, missing, repeated, of other sizes or of zeros."""
    name = ("a.ckpt", "a.pth")[rng.integers(2)]
    path = place / name
    with zipfile.ZipFile(folder / name) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            content, dice = source.read(entry), rng.random()
            if dice < 0.02:
                continue
            if dice < 0.04:
                content = bytes(int(2 ** rng.uniform(0, 27)))
            how = zipfile.ZIP_DEFLATED if 0.04 < dice < 0.06 else zipfile.ZIP_STORED
            target.writestr(entry.filename, content, how)
    return _model(path, path)


def content(folder: Path, place: Path, rng: np.random.Generator) -> str:
    """Change what a checkpoint of peclip holds."""
    found, path = torch.load(folder / "a.ckpt", weights_only=True), place / "a.ckpt"
    if rng.random() < 0.6:
        found[ENTRY] = changed(found[ENTRY], rng)
    else:
        found["state_dict"] = tensors(found["state_dict"], rng)
    if rng.random() < 0.2:
        found[str(rng.choice(["epoch", "callbacks", ENTRY]))] = Call(os.mkdir, str(folder / CANARY))
    torch.save(found, path)
    return _model(path, path)


def released(folder: Path, place: Path, rng: np.random.Generator) -> str:
    """Change the tensors of a released file."""
    found, path = tensors(torch.load(folder / "a.pth", weights_only=True), rng), place / "a.pth"
    if rng.random() < 0.2:
        found["x"] = Call(os.mkdir, str(folder / CANARY))
    torch.save({"state_dict": found} if rng.random() < 0.5 else found, path)
    if rng.random() < 0.5:
        return _model(path, path)
    from peclip.model import load_released

    return _model(path, path, lambda: load_released(path, token_ids=small_ids()))


def backbone(folder: Path, place: Path, rng: np.random.Generator) -> str:
    """Change the settings of a backbone of any family, the bytes of one of its files, or its tensors."""
    place = shutil.copytree(folder / "families" / str(rng.choice([*WRITERS])), place / "backbone")
    files = sorted(place.iterdir())
    path = place / "farl.pth" if place / "farl.pth" in files else place
    settings = [
        file for file in files if file.suffix == ".json" and "token" not in file.name and "vocab" not in file.name
    ]
    if path != place and rng.random() < 0.6:
        torch.save(tensors(torch.load(path, weights_only=True)["state_dict"], rng), path)
    elif settings and rng.random() < 0.6:
        file = settings[rng.integers(len(settings))]
        file.write_text(json.dumps(changed(json.loads(file.read_text()), rng)))
    else:
        file = files[rng.integers(len(files))]
        file.write_bytes(damaged(file.read_bytes(), rng))
    if refusal(lambda: load_backbone(str(path)), str(path)):
        return "refused"
    return _model(path, path, lambda: PEClip(["a", "b"], str(path), texts="names"))


KINDS = (
    package,
    weights,
    archive,
    content,
    released,
    backbone,
    package,
    content,
    bytes_of("a.ckpt"),
    bytes_of("a.pth"),
)


def changed(plain: Any, rng: np.random.Generator) -> Any:
    """Return plain data with one to three of its entries replaced, removed, added or repeated."""
    for _ in range(rng.integers(1, 4)):
        plain = _changed_once(plain, rng)
    return plain


def _changed_once(plain: Any, rng: np.random.Generator) -> Any:
    if not isinstance(plain, dict | list) or not plain or rng.random() < 0.15:
        return VALUES[rng.integers(len(VALUES))]
    keys = list(plain) if isinstance(plain, dict) else range(len(plain))
    key = keys[rng.integers(len(keys))]
    if rng.random() < 0.1:
        rest = [(other, plain[other]) for other in keys if other != key]
        return dict(rest) if isinstance(plain, dict) else [value for _, value in rest]
    if rng.random() < 0.1:
        value = VALUES[rng.integers(len(VALUES))]
        return plain | {f"x{rng.integers(9)}": value} if isinstance(plain, dict) else [*plain, plain[key], value]
    value = _changed_once(plain[key], rng)
    return plain | {key: value} if isinstance(plain, dict) else [*plain[:key], value, *plain[key + 1 :]]


def tensors(state: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Return a state dict with one to three of its tensors replaced, removed, added or under another name."""
    state = dict(state)
    for _ in range(rng.integers(1, 4)):
        name = list(state)[rng.integers(len(state))]
        value = state[name]
        if not isinstance(value, torch.Tensor) or value.is_sparse or value.numel() > 10**7:  # replaced before
            continue
        choice = rng.integers(9)
        if choice == 0:
            del state[name]
        elif choice == 1:
            state[name.replace("0", "77", 1)] = value
        elif choice == 2:
            state[name] = value.flatten()[:1].expand(int(2 ** rng.uniform(0, 50)))
        elif choice == 3:
            state[name] = value.to(
                (torch.int64, torch.float16, torch.float64, torch.complex64, torch.bool)[rng.integers(5)]
            )
        elif choice == 4:
            state[name] = value * float(rng.choice([1e30, 1e38, float("nan"), float("inf"), 0.0]))
        elif choice == 5:
            state[name] = value.to_sparse() if value.dim() else value
        elif choice == 6:
            state[name] = value.T if value.dim() == 2 else value[..., None]
        elif choice == 7:
            state[name] = torch.zeros([int(2 ** rng.uniform(0, 8)) for _ in range(rng.integers(0, 4))])
        else:
            state[name] = VALUES[rng.integers(len(VALUES))]
    return state


if __name__ == "__main__":
    main("tests.stress.fuzz_packages")
