"""``peclip bench``: what it prints and writes, and what it says to those who ask for what is not there."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from peclip.bench import input as bench_input
from peclip.bench import loops, measure
from peclip.bench.input import input_entry, write_textured
from peclip.bench.sizes import backbone_of, model_of, random_tokens
from peclip.data.media.clip import count_frames
from peclip.labels import SEVEN
from peclip.model import Adapter, MaPLe, PEClip, SharedAdapter
from peclip.model.arithmetic import meta_copy
from tests.runs import run

TINY = ("--backbone", "tiny", "--num_frames", "2", "--steps", "2", "--warmup", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def small_peak(monkeypatch):
    """The peak of the device is measured on small matrices, and soon."""
    monkeypatch.setattr(measure, "SIDES", {"cpu": (64,)})
    monkeypatch.setattr(measure, "SECONDS", 0.01)


def figures(path, *args):
    result = run("bench", *args, "--out", path)
    assert (result.status, result.err) == (0, ""), result.err
    return json.loads(path.read_text()), result.out


@pytest.mark.slow
def test_training_and_evaluation_are_measured_with_every_figure(tmp_path):
    for what, name in (("train", "Training"), ("eval", "Evaluation")):
        found, shown = figures(tmp_path / f"{what}.json", what, *TINY, "--batch_size", "3", "--classes", "5")
        assert shown.startswith(f"{name} tiny at 32 px: 3 clips of 2 frames, 5 classes")
        assert (found["what"], found["batch_size"], found["classes"]) == (what, 3, 5)
        step = found["step_seconds"]
        assert len(step["all"]) == 2
        assert found["clips_per_second"] == pytest.approx(3 / step["median"])
        assert found["frames_per_second"] == pytest.approx(6 / step["median"])
        flops = 3 * sum(found["flops_per_clip"].values()) + found["flops_of_texts"]
        share = flops / step["median"] / found["matmul_flops_per_second"]
        assert found["share_of_peak"] == pytest.approx(share)
        assert (found["flops_per_clip"]["backward"] > 0) == (found["flops_of_texts"] > 0) == (what == "train")
        floor = found["floor_seconds"]
        least = (floor["products"] + floor["attention"]) * found["matmul_flops_per_second"]
        assert least == pytest.approx(flops), "every operation is that of a product or of attention"
        assert floor["step"] == max(floor["products"] + floor["attention"], floor["traffic"]) > 0
        assert found["step_over_floor"] == pytest.approx(step["median"] / floor["step"])
        assert "floor: attention" in shown
        assert "FLOPs of the class texts, a step" in shown
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["eval.json", "train.json"]


def test_an_own_backbone_is_measured_with_its_own_size(tiny_clip, tmp_path):
    found, _ = figures(tmp_path / "own.json", "train", *TINY[2:], "--backbone", tiny_clip, "--checkpointing", "true")
    assert (found["image_size"], found["checkpointing"]) == (32, True)


def test_a_clip_costs_what_the_sum_over_its_layers_says():
    net = meta_copy(model_of(backbone_of("tiny"), 7))
    width, hidden, tokens, patches = 32, 4, 4 + 1 + 2, 4  # four patches, the class token and two prompts
    block = 12 * width**2 * tokens + 2 * tokens**2 * width
    heads = 2  # become queries of one attention over the tokens
    last = 12 * width**2 + 2 * heads * tokens * width  # all of the class token alone
    filled_up = 8  # from hidden + 1, the bottleneck and the scale, to a multiple of 8
    adapters = 2 * width * hidden + 2 * width * filled_up + 6 * hidden**2  # of a token
    frame = block + last + adapters * (tokens + 1) + patches * 3 * 16 * 16 * width + width * 32
    prompts = 2 * 2 * width**2  # two at two depths are mapped from the text's, once for all frames
    assert measure.evaluation_flops(net, 1, 2).forward == 2 * (2 * frame + prompts)  # times and plus count two


def test_the_arithmetic_of_evaluation_does_not_grow_with_the_classes():
    few, many = (
        measure.evaluation_flops(meta_copy(model_of(backbone_of("tiny"), classes)), 1, 2) for classes in (2, 50)
    )
    assert few == many


def training_net(classes, prompts, sites=("vision.attention", "text.attention")):
    """A model without a recurrence, which takes seconds to count."""
    backbone = backbone_of("tiny")
    ids = random_tokens(backbone, 1, 2).repeat(classes, 1)
    adapters = dict.fromkeys(sites, SharedAdapter)
    labels = [f"class {number}" for number in range(classes)]
    return meta_copy(PEClip.assemble(backbone, ids, labels, adapters, prompts))


def test_the_arithmetic_of_a_clip_in_training_is_the_same_in_any_batch_and_texts_count_once():
    net = training_net(7, prompts=None)  # MaPLe maps its prompts of the vision tower once a step
    one, three = measure.training_flops(net, 1, 2), measure.training_flops(net, 3, 2)
    assert (three.forward, three.backward, three.texts) == (3 * one.forward, 3 * one.backward, one.texts)
    assert measure.training_flops(training_net(14, prompts=None), 1, 2).texts == 2 * one.texts > 0


def test_the_arithmetic_of_clips_and_texts_is_that_of_the_step():
    net = training_net(7, MaPLe)
    step = measure.training_flops(net, 2, 3)
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(2, 3, 3, 32, 32, device="meta")).sum().backward()
    assert step.forward + step.backward + step.texts == counter.get_total_flops()


def test_texts_that_are_kept_have_no_arithmetic_in_a_step():
    step = measure.training_flops(training_net(7, None, ["vision.attention"]), 2, 3)
    assert step.forward > 0 < step.backward
    assert step.texts == 0


def test_the_memory_of_a_step_is_what_it_takes_above_what_was_there():
    watch = measure.Stopwatch(torch.device("cpu"), warmup=1)
    kept = torch.ones(10_000_000)
    for _ in range(3):
        watch.start()
        torch.ones(25_000_000).sum()
        watch.stop()
    if watch.memory is None:
        pytest.skip("the system does not tell")
    assert 90e6 < watch.memory.step < 130e6
    assert watch.memory.total > watch.memory.step + kept.nbytes
    assert len(watch.seconds) == 1


@pytest.mark.slow
def test_decoding_is_timed_for_generated_clips_and_for_those_of_a_manifest(tmp_path, tiny_data, monkeypatch):
    monkeypatch.setattr(bench_input, "SYNTHETIC", 2)
    found, shown = figures(tmp_path / "made.json", "decode", "--clips", "2", "--num_frames", "3", "--image_size", "32")
    assert "generated clips" in shown
    assert (len(found["step_seconds"]["all"]), found["machine"]["threads"]) == (2, 1)
    found, shown = figures(tmp_path / "own.json", "decode", "--clips", "2", "--data", tiny_data)
    assert str(tiny_data) in shown


def test_videos_made_for_decoding_have_the_bit_rate_of_camera_pictures(tmp_path):
    write_textured(tmp_path / "clip.mp4", seed=3, frames=25)
    assert count_frames(tmp_path / "clip.mp4") == 25
    assert 1e6 < 8 * (tmp_path / "clip.mp4").stat().st_size < 2e6  # in one second


@pytest.mark.parametrize(
    ("compute", "workers", "limit"),
    [(1e-3, 1, "Compute limits"), (1e9, 1, "Input limits"), (1.0, 0, "Without workers")],
)
def test_the_limit_is_reported_as_input_or_compute(tiny_data, monkeypatch, compute, workers, limit):
    monkeypatch.setattr(bench_input, "SECONDS", 0.1)
    found = input_entry(str(tiny_data), 4, 2, 32, workers, seed=0, compute=compute)
    assert found["verdict"].startswith(limit)
    assert found["limit"] == ("compute" if limit.startswith("Compute") else "input")
    assert (found["workers_needed"] == 1) == (compute <= 1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("train", "--device", "cuda:99"), "device is 'cuda:99', expected auto or a device of this machine: cpu"),
        (("eval", "--device", "abacus"), "device is 'abacus', expected auto or a device of this machine: cpu"),
        (("train", "--batch_size", "0"), "batch_size is 0, expected 1 to 10,000"),
        (("train", "--classes", "1"), "classes is 1, expected 2 to 10,000"),
        (("eval", "--classes", "20000"), "classes is 20000, expected 2 to 10,000"),
        (("eval", "--image_size", "8"), "image_size is 8, expected at least 16, the patch of vit-b/16"),
        (
            ("eval", "--backbone", "nothing"),
            "or choose one of vit-b/16, vit-b/32, vit-l/14, vit-h/14, tiny, which have random weights",
        ),
        (("decode", "--clips", "0"), "clips is 0, expected 1 to 1,000,000"),
        (("decode", "--seed", "-1"), "seed is -1, expected 0 to 4,294,967,295"),
        (("decode", "--image_size", "100000"), "image_size is 100000, expected 1 to 4,096"),
        (("train", "--seed", "99999999999999999999"), "expected 0 to 4,294,967,295"),
        (("decode", "--data", "none.csv"), "none.csv"),
        (("everything",), "unknown command 'bench everything', expected one of"),
    ],
)
def test_what_is_not_there_is_one_line(args, message):
    result = run("bench", *args)
    assert result.status == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_bench_alone_lists_what_it_can_time():
    result = run("bench", "--help")
    assert [line.split()[1:3] for line in result.out.splitlines()] == [
        ["bench", "train"], ["bench", "eval"], ["bench", "decode"]
    ]  # fmt: skip


@pytest.mark.parametrize("options", [("--data", "none.csv"), ("--out", "file/figures.json"), ("--out", ".")])
def test_what_cannot_be_read_or_written_is_said_before_anything_is_measured(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setattr(loops, "_measured", None)
    result = run("bench", "train", *TINY, *options)
    assert (result.status, result.err.count("\n")) == (2, 1)


class Peeking(Adapter):
    """Looks at the values of a clip, which the meta device does not have."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        return x * self.scale / (1 + float(x.detach().abs().max()))


@pytest.mark.slow
def test_a_model_whose_arithmetic_cannot_be_counted_is_timed_all_the_same(tiny_clip, tmp_path):
    PEClip(SEVEN, str(tiny_clip), adapters={"vision.mlp": Peeking}, num_frames=2).save_pretrained(tmp_path / "peeking")
    options = ("--model", tmp_path / "peeking", *TINY[4:])
    for what in ("train", "eval"):
        found, shown = figures(tmp_path / f"{what}.json", what, *options)
        assert found["clips_per_second"] > 0
        assert (
            found["flops_per_clip"]
            is found["flops_of_texts"]
            is found["share_of_peak"]
            is found["floor_seconds"]
            is found["step_over_floor"]
            is None
        )
        assert "unknown: a part looks at values" in shown


def test_a_model_that_learns_nothing_is_not_trained(tiny_clip, tmp_path):
    PEClip(SEVEN, str(tiny_clip), adapters={}, prompts=None, num_frames=2).save_pretrained(tmp_path / "bare")
    result = run("bench", "train", "--model", tmp_path / "bare", *TINY[4:])
    assert result.status == 2
    assert "has nothing that learns: time its evaluation with peclip bench eval" in result.err


def test_frames_that_are_no_multiple_of_the_patch_are_measured_too(tmp_path):
    found, _ = figures(tmp_path / "odd.json", "eval", *TINY, "--image_size", "40", "--precision", "bf16-mixed")
    assert found["floor_seconds"]["step"] > 0
