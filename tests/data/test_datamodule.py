"""Clips as batches: what is random about them, and what happens to them on the device."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from peclip.clip_format import CLIP_MEAN, CLIP_STD, UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.data.augment import Augment, Mix
from peclip.data.batch import NO_INDEX, Batch, Draw, collate
from peclip.data.datamodule import VideoDataModule
from peclip.data.media.clip import read_clip
from peclip.errors import InputError, in_one_line
from tests.runs import LABELS, write_data
from tests.trees import write_clip

UNMIXED = Mix(mixup=0, fmix=0)
ALWAYS = Mix(mixup=1, fmix=0, mixup_alpha=1, mixup_range=(0, 1))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A manifest of 15 training and 3 test clips of 40 frames, so that each segment has frames to choose from."""
    return write_data(tmp_path_factory.mktemp("clips"), {"train": 5, "test": 1}, frames=40)


def module(manifest, clip_format=ClipFormat(2, 24), **options):  # noqa: B008 - frozen
    data = VideoDataModule(manifest=str(manifest), **{"num_workers": 0, "val": 0, **options})
    data.clip_format = clip_format
    return data


def training_batches(data, epoch=0):
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    return list(loader)


def by_clip(batches):
    return {int(clip): video for batch in batches for clip, video in zip(batch.clip, batch.video, strict=True)}


def on_device(data, batch, training=True):
    """The batch as the model is given it."""
    data.trainer = SimpleNamespace(training=training, lightning_module=None, overfit_batches=0)
    return data.on_after_batch_transfer(batch, 0)


def test_mixed_clips_are_the_same_on_one_device_and_on_several(clips):
    """Batches of 6 of one process, and of 3 on each of two, which cut a pair in two; the last one has 3 clips."""
    parts = []
    for rank, world in ((0, 1), (0, 2), (1, 2)):
        data = module(clips, batch_size=6 // world, mix=ALWAYS)
        data.trainer = SimpleNamespace(
            training=False, global_rank=rank, world_size=world, lightning_module=None, overfit_batches=0
        )
        parts.append([on_device(data, batch) for batch in training_batches(data)])
    for whole, first, second in zip(*parts, strict=True):
        assert 0 < whole.weight == first.weight == second.weight < 1
        assert [len(part.clip) for part in (whole, first, second)] in ([6, 3, 3], [3, 1, 2])
        for name in ("clip", "label", "other_label", "video"):
            assert torch.equal(getattr(whole, name), torch.cat([getattr(first, name), getattr(second, name)]))


@pytest.mark.parametrize("draw", [Draw(0, 0, 0, own=False), Draw(0, 0, NO_INDEX)])
def test_a_clip_that_does_not_count_on_this_rank_has_neither_label_nor_index(draw, clips):
    data = module(clips)
    batch = collate([data.test_dataloader().dataset[draw]])
    given = on_device(data, batch, training=False)
    assert (given.clip.tolist(), given.label.tolist(), given.draws) == ([NO_INDEX], [NO_INDEX], ())
    assert given.video.shape == (1, 2, 3, 24, 24)


# --- what is random about a clip ---


def test_frames_depend_on_seed_epoch_and_clip_alone(clips):
    alone = by_clip(training_batches(module(clips, batch_size=4), epoch=1))
    for other in (module(clips, batch_size=5, num_workers=1), module(clips, batch_size=3, num_workers=2)):
        videos = by_clip(training_batches(other, epoch=1))
        assert videos.keys() == alone.keys() == set(range(15))
        assert all(torch.equal(videos[clip], alone[clip]) for clip in alone)


def test_frames_change_with_the_epoch_and_with_the_seed(clips):
    first = by_clip(training_batches(module(clips)))
    next_epoch = by_clip(training_batches(module(clips), epoch=1))
    other_seed = by_clip(training_batches(module(clips, seed=1)))
    assert sum(not torch.equal(first[clip], next_epoch[clip]) for clip in first) >= 12
    assert sum(not torch.equal(first[clip], other_seed[clip]) for clip in first) >= 12


def test_the_frames_of_a_training_clip_depend_on_its_key_alone(clips):
    data = module(clips)
    row = data.splits.train.clip(3)
    rng = np.random.default_rng((0, 5, 3, 103))  # seed, epoch, clip and the word of this stream
    assert torch.equal(
        data.train_dataloader().dataset[Draw(epoch=5, step=9, clip=3)].video[0], read_clip(row.path, 2, 24, rng=rng)
    )


def test_augmentation_depends_on_seed_epoch_and_clip_alone(clips):
    videos = []
    for batch_size in (15, 4):
        data = module(clips, batch_size=batch_size, mix=UNMIXED, augment=Augment(rotation=10, brightness=0.5))
        videos.append(by_clip([on_device(data, batch) for batch in training_batches(data)]))
    assert all(torch.equal(videos[0][clip], videos[1][clip]) for clip in range(15))
    data = module(clips, batch_size=15, mix=UNMIXED)
    plain = by_clip(training_batches(data))
    unchanged = on_device(data, Batch(plain[0][None], torch.zeros(1), torch.zeros(1)), training=False)
    assert not torch.allclose(videos[0][0], unchanged.video[0])


def test_evaluation_takes_the_middle_frames_normalised_and_nothing_else(clips):
    data = module(clips)
    (batch,) = data.test_dataloader()
    row = data.splits.test.clip(int(batch.clip[1]))
    expected = read_clip(row.path, 2, 24)
    assert torch.equal(batch.video[1], expected)
    mean, std = torch.tensor(CLIP_MEAN).view(3, 1, 1), torch.tensor(CLIP_STD).view(3, 1, 1)
    video = on_device(data, batch, training=False).video[1]
    torch.testing.assert_close(video, (expected / 255 - mean) / std)
    raw = ClipFormat(2, 24, UNIT_MEAN, UNIT_STD)
    video = on_device(module(clips, raw), batch, training=False).video[1]
    torch.testing.assert_close(video, expected / 255)


def test_mixing_is_that_of_the_step(clips):
    data = module(clips, batch_size=4, mix=ALWAYS)
    batches = training_batches(data)
    first, second = (on_device(data, batch) for batch in batches[:2])
    assert first.weight != second.weight
    assert first.other_label.tolist() == first.label[[1, 0, 3, 2]].tolist()
    again = on_device(module(clips, batch_size=4, mix=ALWAYS), batches[0])
    assert torch.equal(first.video, again.video)
    assert first.weight == again.weight


# --- batches and labels ---


def test_a_batch_is_what_the_documentation_says(clips):
    batch = training_batches(module(clips, batch_size=4))[0]
    assert (batch.video.shape, batch.video.dtype) == ((4, 2, 3, 24, 24), torch.uint8)
    assert (batch.label.dtype, batch.clip.dtype) == (torch.int64, torch.int64)
    data = module(clips)
    names = [data.splits.train.clip(int(clip)).label for clip in batch.clip]
    assert [data.labels[index] for index in batch.label] == names


def test_a_clip_without_a_label_has_no_index(tmp_path):
    write_clip(tmp_path / "a.mp4", 1)
    (tmp_path / "clips.csv").write_text("path,label\na.mp4,\n")
    data = module(tmp_path / "clips.csv", labels=list(LABELS))
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch.label.tolist() == [NO_INDEX]


def test_labels_stand_in_class_order_or_in_the_order_given(clips):
    assert module(clips).labels == ["happiness", "sadness", "anger"]
    data = module(clips, labels=["Angry", "happy", "SAD"])
    assert data.labels == ["anger", "happiness", "sadness"]
    batch = training_batches(data)[0]
    assert [data.labels[i] for i in batch.label] == [data.splits.train.clip(int(i)).label for i in batch.clip]


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_a_label_that_is_not_in_the_list_is_refused_with_its_line(stage, clips):
    data = module(clips, labels=["happiness", "anger"], val=0.2)
    with pytest.raises(InputError, match=r"manifest\.csv line \d+: unknown label 'sadness'"):
        data.setup(stage)


def test_a_class_without_training_clips_is_refused(clips):
    with pytest.raises(InputError, match="class 'fear' is empty"):
        module(clips, labels=[*LABELS, "fear"]).setup("fit")
    module(clips, labels=[*LABELS, "fear"]).setup("test")


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_training_and_testing_need_labels(stage, tmp_path):
    (tmp_path / "clips.csv").write_text(
        f"path,label,split\na.mp4,happy,train\nb.mp4,sad,train\nc.mp4,,{stage.replace('fit', 'train')}\n"
    )
    with pytest.raises(InputError, match=r"clips\.csv line 4: no label"):
        module(tmp_path / "clips.csv").setup(stage)


@pytest.mark.parametrize(
    ("stage", "columns", "options", "says"),
    [
        ("test", "", {}, "test clips: write test into a column split for the clips that the model was not trained on"),
        ("test", ",split=val", {}, "test clips: write test into a column split for"),
        ("test", ",fold_2=train", {"fold": 2}, "test clips in fold 2: write test into a column fold_2 for"),
        ("validate", "", {}, "validation clips, and val is 0: set val to a share of the training clips"),
        (
            "validate",
            "",
            {"val": 0.1},
            "validation clips: write val into a column split for the clips of the validation",
        ),
        ("fit", ",split=test", {}, "training clips: write train into a column split for the clips of the training"),
        ("fit", ",fold=1", {"fold": 1}, "training clips beside fold 1: write another fold into the column fold of"),
        ("predict", "", {"predict": "val"}, "predict is val, but clips.csv has no such clips: set it to all"),
    ],
)
def test_a_stage_without_clips_is_refused_with_what_to_do(stage, columns, options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    column, _, value = columns.partition("=")
    Path("clips.csv").write_text(f"path,label{column}\na.mp4,happy{',' * bool(column)}{value}\n")
    with pytest.raises(InputError) as error:
        module("clips.csv", **options).setup(stage)
    assert says in str(error.value)


def test_a_folder_without_test_clips_is_refused_with_the_place_for_them(tmp_path):
    write_clip(tmp_path / "happy/1.mp4", 1)
    data = VideoDataModule(root=str(tmp_path), num_workers=0)
    says = (
        f"has no test clips: move the clips that the model was not trained on to {tmp_path}/test/CLASS, and others to"
    )
    with pytest.raises(InputError, match=re.escape(says)):
        data.setup("test")


def test_predict_takes_the_test_clips_or_all_or_those_asked_for(clips, tmp_path):
    assert len(module(clips).predicted) == 3
    assert len(module(clips, predict="all").predicted) == 18
    assert len(module(clips, predict="train", val=0.2).predicted) == 12
    assert len(module(clips, predict="val", val=0.2).predicted) == 3
    (tmp_path / "clips.csv").write_text("path,label\na.mp4,happy\nb.mp4,sad\n")
    assert len(module(tmp_path / "clips.csv").predicted) == 2


def test_selection_says_what_the_best_checkpoint_is_chosen_on(clips):
    assert module(clips, val=0.2).selection == "validation"
    assert module(clips, val="test").selection == "test"
    assert module(clips, val=0).selection == "none"


# --- the format of the clips ---


def with_model(data, clip_format):
    """The data as a trainer has it whose model takes this format."""
    net = SimpleNamespace(net=SimpleNamespace(clip_format=clip_format, labels=data.labels))
    data.trainer = SimpleNamespace(training=False, global_rank=0, world_size=1, lightning_module=net, overfit_batches=0)
    return data


def test_the_format_is_that_of_the_model(clips):
    data = with_model(module(clips), ClipFormat(3, 16, UNIT_MEAN, UNIT_STD))
    data.setup("fit")
    assert data.clip_format == ClipFormat(3, 16, UNIT_MEAN, UNIT_STD)
    (batch,) = data.test_dataloader()
    assert batch.video.shape == (3, 3, 3, 16, 16)
    given = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(given.video, batch.video / 255)


def test_another_number_of_frames_is_evaluated_and_not_trained_on(clips):
    data = with_model(module(clips, num_frames=4), ClipFormat(3, 16))
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert batch.video.shape == (3, 4, 3, 16, 16)
    message = (
        "num_frames is 4, but the model is made for 3 frames: omit num_frames, or make the model with num_frames=4"
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        data.setup("fit")
    with_model(data, ClipFormat(4, 16)).setup("fit")


@pytest.mark.parametrize("option", ["num_frames", "batch_size", "eval_batch_size"])
def test_counts_below_one_are_refused(option, clips):
    with pytest.raises(InputError, match=rf"^{option} is 0, expected at least 1"):
        module(clips, **{option: 0})


def test_a_negative_number_of_workers_is_refused(clips):
    with pytest.raises(InputError, match=r"^num_workers is -1"):
        module(clips, num_workers=-1)


# --- clips that cannot be read ---


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_cannot_be_decoded_is_named_with_its_line(workers, tmp_path):
    manifest = write_data(tmp_path, {"train": 1})
    broken = tmp_path / "train" / "sadness" / "2.mp4"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(InputError) as caught:
        training_batches(module(manifest, num_workers=workers))
    message = in_one_line(caught.value)
    assert str(broken) in message
    assert "manifest.csv line 3" in message


def test_a_missing_clip_of_a_folder_is_named(tmp_path):
    write_data(tmp_path, {"train": 1})
    data = VideoDataModule(root=str(tmp_path), num_workers=0, val=0)
    data.setup("fit")
    (tmp_path / "train" / "anger" / "3.mp4").unlink()
    with pytest.raises(InputError, match=r"train/anger/3\.mp4"):
        training_batches(data)


class TestOtherLabels:
    """Clips of happiness, sadness and anger, of which only two are the labels."""

    def test_are_refused_by_default(self, clips):
        with pytest.raises(
            InputError, match=r"unknown label 'anger', .*; to omit such clips, set other_labels to skip"
        ):
            module(clips, labels=["sadness", "happiness"]).setup("fit")

    def test_may_be_omitted_and_counted_by_split(self, clips):
        data = module(clips, labels=["sadness", "happiness"], other_labels="skip")
        data.setup("fit")
        assert (len(data.splits.train), len(data.splits.test), len(data.all_clips)) == (10, 2, 18)
        assert (data.other_clips("train"), data.other_clips("test"), data.other_clips("val")) == (
            {"anger": 5},
            {"anger": 1},
            {},
        )
        assert data.source.notes == ("6 clips of other labels omitted",)
        assert {int(label) for batch in training_batches(data) for label in batch.label} == {0, 1}

    def test_nothing_is_omitted_where_all_labels_are_known(self, clips):
        data = module(clips, labels=[*LABELS], other_labels="skip")
        assert len(data.source) == 18
        assert (data.other_clips("train"), data.source.notes) == ({}, ())

    def test_clips_without_a_label_stay(self, clips, tmp_path):
        rows = clips.read_text().splitlines()
        manifest = clips.with_name("some.csv")
        manifest.write_text("\n".join([rows[0], rows[1].replace(",happiness,", ",,"), *rows[2:]]) + "\n")
        assert len(module(manifest, labels=["sadness", "happiness"], other_labels="skip").source) == 12


@pytest.mark.parametrize(("device", "pinned"), [("cuda", True), ("cpu", False)])
def test_memory_is_pinned_for_a_gpu_alone(device, pinned, clips, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = module(clips)
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=1, overfit_batches=0)
    assert data.train_dataloader().pin_memory is pinned
