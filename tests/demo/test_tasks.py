"""The demo data: reproducible, complete or absent, and in the order demo only time distinguishes the classes."""

import csv
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from peclip.class_texts import ACTION_UNITS
from peclip.data.benchmarks import read_benchmark
from peclip.data.media import count_frames
from peclip.demo import acting, tasks
from peclip.demo.tasks import PRETRAINING_PEOPLE, TEST_PEOPLE, TRAIN_PEOPLE, demo, demo_order, person
from peclip.errors import InputError
from peclip.labels import SEVEN


def rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def decode(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return demo(tmp_path_factory.mktemp("demo"), train=2, test=1, frames=6, size=32)


@pytest.fixture(scope="module")
def small_order(tmp_path_factory) -> Path:
    return demo_order(tmp_path_factory.mktemp("order"), train=1, test=2, frames=9, size=32)


def test_manifest_lists_every_class_in_both_splits(small):
    table = rows(small)
    assert list(table[0]) == ["path", "label", "split", "subject"]
    counts = {(row["split"], row["label"]): 0 for row in table}
    for row in table:
        counts[row["split"], row["label"]] += 1
    assert counts == {(s, label): n for s, n in (("train", 2), ("test", 1)) for label in SEVEN}


def test_clips_are_h264_with_even_time_stamps(small):
    for row in rows(small):
        with av.open(small.parent / row["path"]) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == 25
            frames = list(container.decode(video=0))
        assert [(f.width, f.height) for f in frames] == [(32, 32)] * 6
        assert [round(b.time - a.time, 6) for a, b in pairwise(frames)] == [0.04] * 5


def test_same_seed_makes_the_same_frames_and_another_seed_others(small, tmp_path):
    again = demo(tmp_path, train=2, test=1, frames=6, size=32)
    assert again.read_text() == small.read_text()
    for row in rows(again):
        assert np.array_equal(decode(again.parent / row["path"]), decode(small.parent / row["path"]))
    other = demo(tmp_path, train=2, test=1, frames=6, size=32, seed=1)
    assert other != again
    first = rows(other)[0]["path"]
    assert not np.array_equal(decode(other.parent / first), decode(again.parent / first))


def test_a_finished_demo_is_not_made_again(small, monkeypatch):
    monkeypatch.setattr(tasks, "_fill", lambda *_: pytest.fail("made again"))
    root = small.parent.parent
    assert demo(root, train=2, test=1, frames=6, size=32) == small


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks, "_shoot", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path, train=1, test=1, frames=4, size=32)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_overtaken_uses_the_folder_of_the_faster_one(tmp_path, monkeypatch):
    fill, nested = tasks._fill, []

    def overtaken(folder, plan):
        fill(folder, plan)
        monkeypatch.setattr(tasks, "_fill", fill)
        nested.append(demo(tmp_path, train=1, test=0, frames=2, size=32))

    monkeypatch.setattr(tasks, "_fill", overtaken)
    assert demo(tmp_path, train=1, test=0, frames=2, size=32) == nested[0]
    assert [folder.name for folder in tmp_path.iterdir()] == [nested[0].parent.name]


def test_a_root_that_cannot_be_written_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: cannot write the demo clips there"):
        demo(tmp_path / "file", train=1, test=0, frames=2, size=32)


def test_order_clips_are_each_others_exact_reversal(small_order):
    paths = [row["path"] for row in rows(small_order) if row["label"] == "smile_appears"]
    assert len(paths) == 3
    for path in paths:
        forward = decode(small_order.parent / path)
        backward = decode(small_order.parent / path.replace("smile_appears", "smile_fades"))
        assert np.array_equal(forward, backward[::-1])
        assert not np.array_equal(forward, backward)


def test_some_of_the_expressions_make_a_smaller_task_in_a_folder_of_its_own(tmp_path):
    small, other = (
        demo(tmp_path, train=1, test=1, frames=2, size=16, labels=labels)
        for labels in (("anger", "fear"), ("anger", "happiness"))
    )
    assert small.parent != other.parent
    assert {row["label"] for row in rows(small)} == {"anger", "fear"}


@pytest.mark.parametrize("labels", [(), ("anger",), ("anger", "anger"), ("anger", "boredom")])
def test_a_task_needs_two_of_the_seven_expressions(labels, tmp_path):
    with pytest.raises(InputError, match="labels: expected two or more of happiness, "):
        demo(tmp_path, labels=labels)
    assert list(tmp_path.iterdir()) == []


def test_people_are_named_and_nobody_is_in_two_splits(small, small_order):
    for manifest in (small, small_order):
        people = {
            split: {row["subject"] for row in rows(manifest) if row["split"] == split} for split in ("train", "test")
        }
        assert all(people.values())
        assert not people["train"] & people["test"]
    assert len({row["subject"] for row in rows(small)}) == 3  # of 21 clips


def test_people_of_training_test_and_pretraining_are_disjoint():
    assert max(TRAIN_PEOPLE) < min(TEST_PEOPLE)
    assert max(TEST_PEOPLE) < min(PRETRAINING_PEOPLE)
    looks = {person(number).skin.tobytes() for number in (0, 1, TEST_PEOPLE[0], TEST_PEOPLE[1], PRETRAINING_PEOPLE[0])}
    assert len(looks) == 5


@pytest.mark.parametrize("cores", [1, 5, 64])
def test_any_number_of_processes_writes_the_same_clips(cores, tmp_path, monkeypatch):
    both = tmp_path / "two", tmp_path / "other"
    for root, count in zip(both, (2, cores), strict=True):
        monkeypatch.setattr(tasks.os, "cpu_count", lambda count=count: count)
        demo(root, train=1, test=0, frames=2, size=32)
    one, other = ({path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")} for root in both)
    assert len(one) == 1 + len(SEVEN)
    assert one == other


def test_a_failing_process_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks.os, "cpu_count", lambda: 3)
    monkeypatch.setattr(tasks.sys, "path", ["/nowhere"])
    with pytest.raises(RuntimeError, match="generating the demo clips failed"):
        demo(tmp_path, train=1, test=0, frames=2, size=32)
    assert list(tmp_path.iterdir()) == []


def test_the_same_frames_give_the_same_file_every_time(tmp_path):
    rng = np.random.default_rng((0, TEST_PEOPLE[1], 3))
    # Pictures of which x264 made several files when it was free to.
    units = acting.change(rng, ACTION_UNITS["fear"], ACTION_UNITS["anger"], acting.turns(rng, 32))
    film = tasks._film(rng, TEST_PEOPLE[1], units, 96)
    paths = [tmp_path / f"{number}.mp4" for number in range(8)]
    for path in paths:
        tasks.write_video(path, film)
    assert len({path.read_bytes() for path in paths}) == 1


def test_the_clips_of_a_task_are_generated_once_and_read_as_a_benchmark(tmp_path, monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "demo", partial(demo, train=1, test=1, frames=2, size=16))
    written = tasks.generate("demo", tmp_path).stat().st_mtime_ns
    assert tasks.generate("demo", tmp_path).stat().st_mtime_ns == written
    clips = read_benchmark("demo", tmp_path)
    assert (len(clips), len(clips.missing())) == (14, 0)


def test_a_task_with_other_settings_is_linked_again(tmp_path, monkeypatch):
    for frames in (2, 3):
        monkeypatch.setitem(tasks.TASKS, "demo", partial(demo, train=1, test=1, frames=frames, size=16))
        tasks.generate("demo", tmp_path)
        assert count_frames(read_benchmark("demo", tmp_path).clip(0).path) == frames
