"""``peclip explain``: its files, mistakes in one line, and clips whose explanation is known."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from peclip.demo.face import ActionUnits, Artist, Pose, random_scene
from peclip.demo.tasks import person, write_video
from peclip.inference.explain.explanation import explained, read_moving
from peclip.inference.trained import load_model, zero_shot
from tests.runs import run
from tests.trees import write_clip

ONSET = 8
"""Frame of 16 at which a face begins to change."""


def film(path, who, before, after):
    """Write a clip of a person whose action units change within three frames, and return what differs, (96, 96)."""
    artist = Artist(person(who), random_scene(np.random.default_rng(who)), 96)
    level = np.clip((np.arange(16) - ONSET + 1.5) / 3, 0, 1)
    names = {*before, *after}
    frames = np.stack(
        [
            artist.draw(
                Pose(),
                ActionUnits(**{name: (1 - x) * before.get(name, 0) + x * after.get(name, 0) for name in names}),
            )
            for x in level.tolist()
        ]
    )
    write_video(path, frames)
    return np.abs(frames[-1].astype(int) - frames[0]).sum(axis=2) > 8


def moved_patches(moved):
    """The patches of 16 pixels in the rectangle around what moves, bool (6, 6)."""
    (ys, xs), found = np.nonzero(moved), np.zeros((6, 6), bool)
    found[ys.min() // 16 : ys.max() // 16 + 1, xs.min() // 16 : xs.max() // 16 + 1] = True
    return found


SMILE, SAD = {"lip_corner_puller": 0.9}, {"inner_brow_raiser": 0.9, "brow_lowerer": 0.9, "lip_corner_depressor": 0.9}


@pytest.fixture(scope="module")
def still_clip():
    """The demo's CLIP, which knows expressions of single frames."""
    return zero_shot(["happiness", "sadness", "neutral"], backbone="demo").eval()


def test_the_heat_of_a_smile_is_at_the_mouth_and_its_frames_count(still_clip, tmp_path):
    path = tmp_path / "mouth.mp4"
    mouth = moved_patches(film(path, 6000, {}, SMILE))
    found = explained(still_clip, str(path), read_moving(str(path), still_clip), "happiness", steps=4)
    heat = found.gradient[:, mouth].sum() / found.gradient.sum()
    assert heat > 2 * mouth.mean()
    assert found.worth[: ONSET - 1].max() < 0 < found.worth[ONSET:].min()
    assert found.curves["gradient"].areas[0] < found.curves["random"].areas[0]
    units = next(text for text in found.texts if text.label == "happiness").units
    assert units[0].name == "Lip Corner Puller"


def test_of_a_clip_that_turns_the_frames_after_the_turn_count_for_the_second_expression(still_clip, tmp_path):
    path = tmp_path / "turn.mp4"
    film(path, 6001, SAD, {"cheek_raiser": 0.9, **SMILE})
    clip = read_moving(str(path), still_clip)
    after, before = (explained(still_clip, str(path), clip, label, steps=0) for label in ("happiness", "sadness"))
    assert after.worth[: ONSET - 1].max() < 0 < after.worth[ONSET + 1 :].min()
    assert before.worth[: ONSET - 1].min() > 0 > before.worth[ONSET + 1 :].max()


@pytest.mark.stress
def test_the_demo_model_is_explained_as_its_clips_were_made(demo_run, tmp_path):
    net, path = load_model(str(demo_run)), str(tmp_path / "clip.mp4")
    shares, areas, opened = [], [], []
    for who in range(6000, 6008):
        mouth = moved_patches(film(path, who, {}, SMILE))
        found = explained(net, path, read_moving(path, net), "happiness", steps=4)
        shares.append(found.gradient[:, mouth].sum() / found.gradient.sum() / mouth.mean())
        areas.append(np.subtract(found.curves["random"].areas, found.curves["gradient"].areas))
        if found.probabilities[found.place] > 0.5:
            assert found.worth[4:].mean() > 2 * found.worth[:3].mean()
        last = found.scale_maps()[-1]
        opened.append(last[4:].mean() / last[:3].mean())
        film(path, who, SAD, {"cheek_raiser": 0.9, **SMILE})
        turn = explained(net, path, read_moving(path, net), "happiness", steps=0)
        assert turn.worth[4:].mean() > turn.worth[:3].mean()
    assert min(shares) > 1.5
    assert np.mean(shares) > 2
    assert np.mean(opened) > 1.1  # the scale of the last TDA grows with the smile
    deletion, insertion = np.mean(areas, axis=0)
    assert deletion > 0.1
    assert insertion < -0.1


# --- the command ---


@pytest.fixture(scope="module")
def answer(tiny_run, tmp_path_factory):
    """The folder of an explanation, made by the command of a folder of frames with a name that needs care."""
    folder = tmp_path_factory.mktemp("explain")
    frames = folder / "<b>&clip.v1"
    frames.mkdir()
    for number in range(7):
        Image.new("RGB", (40, 32), (30 * number, 90, 200)).save(frames / f"{number}.png")
    result = run("explain", frames, "--model", tiny_run, "--out", folder / "out", "--curve_steps", "3")
    assert (result.status, result.err) == (0, "")
    assert f"{folder / 'out' / '<b>&clip.v1'}.html: " in result.out
    return folder / "out"


def test_the_command_writes_a_picture_a_page_and_the_numbers(answer):
    assert sorted(path.name for path in answer.iterdir()) == ["<b>&clip.v1.html", "<b>&clip.v1.npz", "<b>&clip.v1.png"]
    with Image.open(answer / "<b>&clip.v1.png") as picture:
        assert picture.width == 1430
        assert picture.height > 1000
    with np.load(answer / "<b>&clip.v1.npz") as found:
        assert found["labels"].tolist() == ["happiness", "sadness", "anger"]
        assert found["frames"].shape == (3, 32, 32, 3)
        assert found["numbers"].tolist() == [1, 3, 5]
        assert found["without_frame"].shape == (3, 3)
        assert found["scales"].shape == (2, 3, 1 + 4 + 2)
        assert found["gradient"].shape == found["rollout"].shape == (3, 2, 2)
        assert np.allclose(found["rollout"].sum(axis=(1, 2)) + found["from_prompts"], 1)
        label = found["labels"].tolist().index(str(found["label"]))
        assert found["probabilities"].argmax() == label
        logits, without = found["logits"], found["without_frame"]
        others = [place for place in range(3) if place != label]
        lost = (logits[label] - logits[others].mean()) - (without[:, label] - without[:, others].mean(axis=1))
        assert np.allclose(found["worth"], lost, atol=1e-3)
        assert found["deletion_gradient"].shape == found["insertion_random"].shape == (4,)
        assert len(found["units"]) == len(found["unit_worth"]) == 2 + 3 + 4


def test_the_page_stands_alone_and_names_are_text(answer):
    page = (answer / "<b>&clip.v1.html").read_text()
    assert "<b>&clip.v1" not in page
    assert "&lt;b&gt;&amp;clip" in page
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    assert {source[:23] for source in re.findall(r'src="([^"]+)"', page)} == {"data:image/jpeg;base64,"}
    assert len(re.findall(r"<img ", page)) == 3 * (3 + 2)  # three frames in three views and two blocks


def test_the_page_says_that_the_heat_for_a_class_is_of_its_margin(answer):
    page = (answer / "<b>&clip.v1.html").read_text()
    assert "attention that raises its logit above the mean of the others" in page


def test_the_parts_of_all_class_texts_share_one_scale(answer):
    page = (answer / "<b>&clip.v1.html").read_text()
    shown = [
        (float(width), abs(float(worth)))
        for table in re.findall(r'<ul class="units">.*?</ul>', page)
        for width, worth in re.findall(r"width:([\d.]+)%.*?<small>([+-][\d.]+)</small>", table)
    ]
    largest = max(worth for _, worth in shown)
    assert len(shown) == 2 + 3 + 4
    assert all(width == pytest.approx(50 * worth / largest, abs=0.5) for width, worth in shown)


def test_the_legend_of_the_curves_covers_none(tmp_path):
    from peclip.inference.explain.curves import Curve
    from peclip.inference.explain.picture import _draw_curves
    from peclip.results.figures import new_figure, save

    curve = Curve(np.linspace(1, 0, 4), np.linspace(0, 1, 4))
    axes = (figure := new_figure(4, 3.6)).subplots()
    _draw_curves(axes, SimpleNamespace(curves={"gradient": curve, "random": curve}, label="happiness"))
    save(figure, tmp_path / "curves.png")
    assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


def test_a_class_may_be_chosen_in_any_spelling(tiny_run, tiny_data, tmp_path):
    clip = tiny_data.parent / "test/sadness/15.mp4"
    result = run("explain", clip, "--model", tiny_run, "--out", tmp_path, "--label", "Angry", "--curve_steps", "0")
    assert (result.status, result.err) == (0, "")
    with np.load(tmp_path / "15.npz") as found:
        assert str(found["label"]) == "anger"
        assert "deletion_gradient" not in found


def picture(path):
    Image.new("RGB", (32, 32)).save(path / "face.jpg")
    return path / "face.jpg"


def one_image(path):
    (path / "one").mkdir()
    Image.new("RGB", (32, 32)).save(path / "one/1.jpg")
    return path / "one"


def one_frame(path):
    write_clip(path / "one.mp4", 1, 1)
    return path / "one.mp4"


def no_frames(path):
    (path / "empty").mkdir()
    return path / "empty"


def missing(path):
    return path / "nowhere.mp4"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (picture, "face.jpg: is a picture, expected a video or a folder of frames"),
        (one_image, "one: has one frame: expected a clip of two frames or more"),
        (one_frame, "one.mp4: has one frame"),
        (no_frames, "empty: has no image"),
        (missing, "nowhere.mp4: cannot be read"),
        (lambda _: "https://example.org/a.mp4", "https://example.org/a.mp4: is an address: download the video first"),
    ],
)
def test_a_clip_that_does_not_move_is_one_line(make, says, tiny_run, tmp_path):
    result = run("explain", make(tmp_path), "--model", tiny_run, "--out", tmp_path / "out")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert says in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--label", "joy"], "label is 'joy': expected one of happiness, sadness, anger"),
        (["--curve_steps", "-1"], "curve_steps is -1"),
        (["--curve_steps", "13"], "curve_steps is 13: expected at most 12, the number of patches of all frames"),
        (["--out", __file__], f"{__file__} cannot be written: {__file__} is a file, expected a folder"),
        (["--out", f"{__file__}/a/b"], f"{__file__} is a file, expected a folder"),
        (["--batch_size", "0"], "batch_size is 0"),
        (["--device", "abacus"], "device is 'abacus'"),
        (["--labels", "[a,b]"], "labels is for --model zero-shot"),
        (["--end", "0"], "has no frame before 0 s"),
        (["--start", "50"], "has no frame from 50 s on"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(options, says, tiny_run, tiny_data, tmp_path):
    clip = tiny_data.parent / "test/sadness/15.mp4"
    result = run("explain", clip, "--model", tiny_run, "--out", tmp_path / "out", *options)
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert says in result.err
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    result = run("explain", "clip.mp4", "--model", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert "nowhere" in result.err


def test_a_moment_of_a_film_is_named(tiny_run, tiny_data, tmp_path):
    clip = tiny_data.parent / "test/sadness/15.mp4"
    options = ("--start", "0", "--end", "0.5", "--out", tmp_path, "--curve_steps", "0")
    assert run("explain", clip, "--model", tiny_run, *options).status == 0
    assert "Explanation of 15.mp4 from 0 s to 0.5 s" in (tmp_path / "15.html").read_text()
    with np.load(tmp_path / "15.npz") as found:
        assert (found["start"], found["end"]) == (0, 0.5)


def test_many_frames_and_classes_have_a_picture_and_a_page(tiny_clip, tmp_path):
    from peclip.inference.explain.page import write_page
    from peclip.inference.explain.picture import draw_explanation

    labels = [f"class {number}" for number in range(40)]
    net = zero_shot(labels, texts_of(tmp_path, labels), str(tiny_clip)).eval()
    write_clip(tmp_path / "long.mp4", 1, 90)
    clip = read_moving(str(tmp_path / "long.mp4"), net)
    found = explained(net, "long.mp4", clip._replace(clip=clip.clip.repeat(5, 1, 1, 1), numbers=np.arange(80)), steps=0)
    draw_explanation(tmp_path / "long.png", found)
    write_page(tmp_path / "long.html", found)
    page = (tmp_path / "long.html").read_text()
    assert "10 classes with lower logits are not shown" in page
    assert page.count("<img ") == 3 * 64


def texts_of(folder: Path, labels):
    path = folder / "texts.yaml"
    path.write_text("".join(f"{label}: part {label}, other {label}\n" for label in labels))
    return path
