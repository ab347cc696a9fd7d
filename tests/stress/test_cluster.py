"""The tests of tests/test_cluster.py in other precisions and executions of blocks; and on two real nodes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch.distributed.tensor import DTensor

from peclip.train.module import PEClipModule
from tests.ranked import in_ranks
from tests.runs import write_config, write_data

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.stress

WAYS = {
    "fp32": ["--trainer.precision", "32-true"],
    "bf16": ["--trainer.precision", "bf16-mixed"],
    "held in bf16": ["--trainer.precision", "bf16-mixed", "--model.frozen", "bf16"],
    "narrow residual": ["--trainer.precision", "bf16-mixed", "--model.residual", "bf16"],
    "checkpointing": ["--trainer.precision", "32-true", "--model.net.checkpointing", "true"],
    "compiled": ["--trainer.precision", "32-true", "--model.net.compile", "true"],
    "accumulated": ["--trainer.precision", "32-true", "--trainer.accumulate_grad_batches", "2"],
    "without prompts": ["--trainer.precision", "32-true", "--model.net.prompts", "null"],
}


def watched(rank):
    """Note which trainable weights get no gradient, and digests of the frozen ones before and after."""
    found = {"without": [], "sums": []}

    def total(module):
        sums = sha256()
        for name, weight in module.net.clip.named_parameters():
            whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
            sums.update(name.encode() + whole.float().numpy().tobytes())
        found["sums"].append(sums.hexdigest())

    def note(module):
        total(module)
        found["shards"] = sum(isinstance(weight, DTensor) for weight in module.net.clip.parameters())
        Path(f"rank{rank}.json").write_text(json.dumps(found))

    def look(module, optimizer):
        weights = module.named_parameters()
        found["without"] += [name for name, weight in weights if weight.requires_grad and weight.grad is None]

    PEClipModule.on_train_start = total
    PEClipModule.on_before_optimizer_step = look
    PEClipModule.on_train_end = note


@pytest.mark.parametrize("way", WAYS)
def test_sharded_weights_compute_what_copies_do(way, tiny_clip, tmp_path):
    """Every trainable weight gets a gradient, no frozen one changes, and what is trained is the same."""
    manifest = write_data(tmp_path, {"train": 4, "val": 1, "test": 1})
    config = write_config(tmp_path / "config.yaml", tiny_clip, manifest)
    words = ["fit", "--config", str(config), "--data.batch_size", "2", "--data.eval_batch_size", "1", *WAYS[way]]
    states, sums = [], []
    for sharded in ("false", "true"):
        folder = tmp_path / sharded
        results = in_ranks(folder, [*words, "--model.sharded", sharded, "--folder", "run"], 2, watched)
        assert [result.status for result in results] == [0, 0], results
        for rank in range(2):
            found = json.loads((folder / f"rank{rank}.json").read_text())
            assert found["without"] == []
            assert (found["shards"] > 0) == (sharded == "true")
            sums += found["sums"]
        states.append(torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"])
    assert len(set(sums)) == 1
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, atol=1e-4, rtol=0, msg=name)


@pytest.mark.parametrize("launcher", ["torchrun", "lightning"])
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and ip (iproute2)")
def test_two_nodes_train_as_one_process(launcher):
    script = [sys.executable, str(ROOT / "benchmarks/two_nodes.py"), "--launcher", launcher]
    done = subprocess.run(
        script, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": equal") == 2
    spaces = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    assert "peclip-" not in spaces
