"""Tasks without faces: clips in folders whose class is the order in which a shape moves, with texts by template."""

import json
import re
from contextlib import chdir

import numpy as np
import pytest
import yaml

from tests.media import write_video
from tests.runs import run

SIDE, SHAPE, FRAMES = 32, 12, 4


def shape_moving(rng, rises):
    """Draw a bright square that rises or falls, uint8 (T, H, W, 3): both classes show the same frames in another order."""
    video = np.full((FRAMES, SIDE, SIDE, 3), rng.integers(20, 60), dtype=np.uint8)
    light, left = rng.integers(180, 256), int(rng.integers(6, 15))
    tops = np.linspace(SIDE - SHAPE, 0, FRAMES).round().astype(int)
    for frame, top in zip(video, tops if rises else tops[::-1], strict=True):
        frame[top : top + SHAPE, left : left + SHAPE] = light
    return video


def write_shapes(root, train, test):
    """Write a folder per split and class, with so many clips in each."""
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "test": test}.items():
        for label in ("fallsDown", "rises_up"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                frames = shape_moving(rng, label == "rises_up")
                write_video(root / split / label / f"{number}.mp4", FRAMES, frames=frames)
    return root


def fit(folder, clips, *options):
    """Train on the clips with the demo's CLIP and return the folder of the run, and the result of the command."""
    config = {
        "trainer": {"accelerator": "cpu", "precision": "32-true", "max_epochs": 6},
        "model": {
            "lr_adapters": 2e-3,
            "lr_prompts": 5e-4,
            "warmup_epochs": 1,
            "zero_shot": True,
            "net": {"backbone": "demo", "num_frames": FRAMES, "texts": "a shape that {label}"},
        },
        "data": {
            "root": str(clips),
            "benchmark": "folders",
            "val": 0,
            "num_workers": 0,
            "batch_size": 10,
            "augment": {"area": [1, 1], "aspect": [1, 1]},
            "mix": {"mixup": 0, "fmix": 0},
        },
    }
    (folder / "shapes.yaml").write_text(yaml.safe_dump(config))
    with chdir(folder):
        return folder / "run", run("fit", "--config", "shapes.yaml", "--folder", "run", *options)


def test_other_classes_are_reported_in_words_that_fit_them(tmp_path, tiny_clip):
    clips = write_shapes(tmp_path / "clips", 2, 1)
    folder, result = fit(tmp_path, clips, "--trainer.max_epochs", "1", "--model.net.backbone", tiny_clip)
    assert (result.status, result.err) == (0, "")
    with chdir(tmp_path):
        exported = run("export", folder, "--out", "package")
    assert exported.status == 0, exported.err
    card = (tmp_path / "package/README.md").read_text()
    written = [path.read_text() for path in folder.glob("*.*") if path.suffix in (".json", ".csv", ".txt")]
    assert "a shape that rises up" in card
    for text in (result.out, exported.out, card, *written):
        assert "expression" not in text.lower()


@pytest.mark.stress
def test_the_order_of_a_motion_is_learnt_where_frames_without_order_tell_nothing(tmp_path):
    folder, result = fit(tmp_path, write_shapes(tmp_path / "clips", 40, 30))
    assert result.status == 0, result.err
    found = json.loads((folder / "metrics.json").read_text())
    assert found["clips"] == 60
    assert found["zero_shot"]["war"] == 0.5  # the mean over the frames is the same for both
    assert found["war"] >= 0.8  # less than one in 10**6 of those who guess 60 clips are right so often
    with chdir(tmp_path):
        options = ("--faces", "none", "--format", "srt,vtt,elan", "--per_frame", "--video")
        answered = run("recognize", "clips/test/rises_up", "--model", folder, "--out", "answers", *options)
        explained = run("explain", "clips/test/rises_up/0.mp4", "--model", folder, "--out", "explained")
    assert "answers/summary.csv: 30 videos, 30 rows of the timeline;" in answered.out
    assert "small picture (4.8 s), seen for a moment (4.8 s); see the column caution" in answered.err
    assert explained.status == 0, explained.err
    texts = [path.read_text() for path in tmp_path.glob("answers/*.*") if path.suffix in (".srt", ".vtt", ".eaf")]
    for name in ("timeline", "segments", "summary", "frames"):
        texts += (tmp_path / f"answers/{name}.csv").read_text().splitlines()[1:]
    texts += [path.read_text() for path in tmp_path.glob("explained/*.html")]
    for text in (answered.out, answered.err, explained.out, *texts):
        plain = re.sub('base64,[^"]*', "", text)
        assert not re.search("face|expression", plain, re.IGNORECASE), plain[:200]
