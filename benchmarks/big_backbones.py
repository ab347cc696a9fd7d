"""Measure the memory of each rank with big backbones: held in fp32, in bf16, and in bf16 sharded over the ranks.

python benchmarks/big_backbones.py [--sizes vit-b/16 vit-l/14 vit-h/14] [--held fp32 bf16 copies sharded] [--ranks 2]
    [--clips 1] [--frames 4] [--steps 3] [--checkpointing] [--precision bf16-mixed] [--accelerator cpu] [--out FILE]

Every row is a run of peclip fit on a CLIP with random weights, stored in fp16 like downloaded ones. fp32 and
bf16 run on one rank; copies (bf16) and sharded (bf16) on several. On a CPU memory is what is resident in a process, torch and all
libraries included, which alone take what tiny, a CLIP of two million parameters, takes. Freed memory is returned to the
system at once, whereas peclip keeps it for the next step: it would count as if it were in use.
"""

import argparse
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from fresh import Figures, gigabytes, keep, table
from lightning.pytorch import Callback, Trainer
from transformers import CLIPModel

from peclip.bench.measure import peak, reset_peak
from peclip.bench.sizes import SIZES, random_config
from peclip.cli import main as peclip
from peclip.demo import CLIP
from peclip.demo.tasks import demo
from peclip.model.device import M_MMAP_THRESHOLD
from peclip.model.parts.prompts import DEPTH

RECIPE = Path(__file__).parents[1] / "configs" / "ferv39k.yaml"

HELD = {"fp32": ("fp32", False), "bf16": ("bf16", False), "copies": ("bf16", False), "sharded": ("bf16", True)}
"""Precision in which CLIP is held, and whether it is sharded."""


def main() -> None:
    """Measure every size in every case."""
    if "--rank" in sys.argv:
        run_rank(json.loads(sys.argv[-1]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["tiny", "vit-l/14", "vit-h/14"])
    parser.add_argument("--held", nargs="+", choices=HELD, default=[*HELD])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--clips", type=int, default=1, help="of a rank's batch")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--out", help="json file to write the figures to")
    options = parser.parse_args()
    found: dict[str, Figures] = {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            in_a_process(write_backbone, size, Path(folder) / "clip")
            demo(Path(folder) / "data", train=8, test=1, frames=options.frames, size=32)
            for held in options.held:
                print(f"{size}, {held}", file=sys.stderr, flush=True)
                found[f"{size}, {held}"] = measured(Path(folder), held, options)
                keep(found, options.out)
    show(found)


def write_backbone(size: str, folder: Path) -> None:
    """Write a CLIP with random weights in fp16, and a tokenizer."""
    torch.set_default_dtype(torch.float16)
    CLIPModel(random_config(size)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(str(CLIP / name), folder)


def in_a_process(function: Any, *args: Any) -> None:
    """Call a function in a process of its own, which frees its memory at the end."""
    child = torch.multiprocessing.get_context("spawn").Process(target=function, args=args)
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"big_backbones.py: {function.__name__} failed")


def measured(folder: Path, held: str, options: argparse.Namespace) -> Figures:
    """Run peclip fit on as many ranks as the case needs, and return their figures in the order of the ranks."""
    ranks = options.ranks if held in ("copies", "sharded") else 1
    out = Path(tempfile.mkdtemp(dir=folder))
    case = {**vars(options), "folder": str(folder), "held": held, "ranks": ranks, "out": str(out)}
    words = [sys.executable, __file__, "--rank", json.dumps(case)]
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "NODE_RANK": "0"} if ranks > 1 else {}
    processes = []
    for rank in range(ranks):
        mine = environment | ({"LOCAL_RANK": str(rank)} if ranks > 1 else {})
        processes.append(subprocess.Popen(words, env=os.environ | mine, cwd=out, stdout=subprocess.DEVNULL))
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise SystemExit(f"big_backbones.py: {held} failed")
    return {"ranks": [json.loads((out / f"{rank}.json").read_text()) for rank in range(ranks)]}


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run_rank(case: dict[str, Any]) -> None:
    """Run peclip fit as one rank, with :class:`Account` among the callbacks."""
    frozen, sharded = HELD[case["held"]]
    folder = Path(case["folder"])
    config = json.loads((folder / "clip" / "config.json").read_text())
    depth = min(DEPTH, *(config[f"{tower}_config"]["num_hidden_layers"] for tower in ("vision", "text")))
    account = {"class_path": "big_backbones.Account", "init_args": {"out": case["out"]}}
    options = {
        "name": case["held"],
        "model.frozen": frozen,
        "model.sharded": sharded,
        "model.net.backbone": folder / "clip",
        "model.net.checkpointing": case["checkpointing"],
        "model.net.prompts.init_args.depth": depth,
        "data.root": folder / "data",
        "data.benchmark": "demo",
        "data.num_frames": case["frames"],
        "data.batch_size": case["clips"],
        "data.num_workers": 0,
        "trainer.callbacks+": json.dumps(account),
        "trainer.accelerator": case["accelerator"],
        "trainer.devices": case["ranks"],
        "trainer.strategy": "ddp" if case["ranks"] > 1 else "auto",
        "trainer.precision": case["precision"],
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": case["steps"],
        "trainer.num_sanity_val_steps": 0,
        "trainer.limit_val_batches": 2,  # 1 would be all of them
        "trainer.limit_test_batches": 2,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value).replace("True", "true"))]
    peclip(["fit", "--config", str(RECIPE), *words])


class Account(Callback):
    """Notes the memory of this rank while it loads, between steps and at the peak of one, and the time of a step.

    Args:
        out: folder, in which ``RANK.json`` is written.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self.found: Figures = {}
        if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
            mallopt(M_MMAP_THRESHOLD, 2**16)
        self._begun = 0.0

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Note the peak so far, in the memory of the machine: CLIP has been loaded."""
        if stage == "fit":
            self.found["loading"] = peak(torch.device("cpu"))
            self.found["parameters"] = sum(weight.numel() for weight in pl_module.parameters())
            self.found["trainable"] = sum(w.numel() for w in pl_module.parameters() if w.requires_grad)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note what is in use before a step; the figures of the last step are kept."""
        self.found["between steps"] = reset_peak(pl_module.device)
        self._begun = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the peak of a step and its time."""
        self.found["step"] = peak(pl_module.device)
        self.found["seconds"] = time.perf_counter() - self._begun
        (self.out / f"{trainer.global_rank}.json").write_text(json.dumps(self.found))


def show(found: dict[str, Figures]) -> None:
    """Print the largest figures of the ranks."""
    rows = []
    for name, figures in found.items():
        ranks = figures["ranks"]
        most = {key: max(rank[key] for rank in ranks) for key in ranks[0]}
        rows.append(
            [
                name,
                str(len(ranks)),
                f"{most['parameters'] / 1e6:,.0f} M",
                f"{most['trainable'] / 1e6:.1f} M",
                *(gigabytes(most[key]) for key in ("loading", "between steps", "step")),
                f"{most['seconds']:.1f} s",
            ]
        )
    header = ["", "ranks", "parameters", "trainable", "loading", "between steps", "peak of a step", "step"]
    table("Memory of a rank; loading is that of the machine", header, rows)


if __name__ == "__main__":
    main()
