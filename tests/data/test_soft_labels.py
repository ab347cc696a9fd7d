"""Soft labels: read, refused with file, line and column, kept wherever clips are written, and in the batches of a training."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from peclip.clip_format import ClipFormat
from peclip.data.augment import Mix
from peclip.data.batch import NO_INDEX, Draw
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.data.pack import Packing, pack
from peclip.data.soft_labels import soft_targets
from peclip.errors import InputError
from peclip.train.runs.clips import split_digests
from tests.runs import LABELS, write_data

HEADER = "path,label,split,p_happy,p_sadness,p_anger"
ROWS = ["a.mp4,happiness,train,0.7,0.2,0.1", "b.mp4,sadness,train,,,", "c.mp4,anger,train,0,.333,.666"]


def write(folder, *rows, header=HEADER):
    path = folder / "soft.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def soften(manifest):
    """Add probabilities to a manifest of three classes: 0.6 for the label, unevenly shared between the others."""
    table = pd.read_csv(manifest)
    for place, name in enumerate(LABELS):
        table[f"p_{name}"] = np.where(table["label"] == name, 0.6, np.where((place + table.index) % 2, 0.3, 0.1))
    columns = [f"p_{name}" for name in LABELS]
    table[columns] = table[columns].div(table[columns].sum(axis=1), axis=0).round(4)
    table.to_csv(manifest, index=False)
    return manifest


@pytest.fixture(scope="module")
def soft_data(tmp_path_factory):
    return soften(write_data(tmp_path_factory.mktemp("soft"), {"train": 4, "test": 2}))


def module(manifest, **options):
    data = VideoDataModule(str(manifest), **{"num_workers": 0, "val": 0, "soft_labels": True, **options})
    data.clip_format = ClipFormat(2, 24)
    return data


def test_a_row_has_its_probabilities_and_one_without_any_its_label(tmp_path):
    found = soft_targets(Manifest.read(write(tmp_path, *ROWS)), LABELS)
    assert np.allclose(found, [[0.7, 0.2, 0.1], [0, 1, 0], [0, 1 / 3, 2 / 3]], atol=1e-6)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("d.mp4,anger,train,0.5,0.2,0.2", "line 4: p_happy to p_anger sum to 0.9, expected 1"),
        ("d.mp4,anger,train,0.9,0.9,0.2", "line 4: p_happy to p_anger sum to 2, expected 1"),
        ("d.mp4,anger,train,0,0,0", "line 4: p_happy to p_anger sum to 0, expected 1"),
        ("d.mp4,anger,train,0.7,-0.1,0.4", "line 4: p_sadness is -0.1, expected a probability from 0 to 1"),
        ("d.mp4,anger,train,0,7,3", "line 4: p_sadness is 7, expected a probability from 0 to 1: divide votes"),
        ("d.mp4,anger,train,0.7,0.3,", "line 4: p_anger is empty, but other classes of this clip have a probability"),
        ("d.mp4,anger,train,0.7,much,0.1", "line 4: p_sadness 'much' is not a number"),
        ("d.mp4,anger,train,0.7,inf,0.1", "line 4: p_sadness 'inf' is not a number"),
    ],
)
def test_what_is_no_distribution_is_refused_with_line_and_column(tmp_path, row, says):
    path = write(tmp_path, *ROWS[:2], row)
    with pytest.raises(InputError) as error:
        Manifest.read(path)
    assert str(error.value).startswith(f"{path} {says}")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("path,label,split,p_happy,p_sadness,p_boredom", "line 1: column 'p_anger' is missing, soft labels need every"),
        (HEADER + ",p_boredom", "line 1: column 'p_boredom' is of no class, expected p_ and one of"),
        ("path,label,split", "line 1: has no soft labels, expected columns p_happiness, p_sadness, p_anger, ..."),
        (HEADER + ",p_Happiness", "line 1: columns 'p_happy' and 'p_Happiness' are of one class"),
    ],
)
def test_columns_that_are_not_those_of_the_classes_are_refused(tmp_path, header, says):
    rows = [",".join([*row.split(",")[:3], *["" for _ in header.split(",")[3:]]]) for row in ROWS]
    with pytest.raises(InputError) as error:
        module(write(tmp_path, *rows, header=header)).setup("fit")
    assert f"soft.csv {says}" in str(error.value)


def test_probabilities_of_other_classes_are_left_out_where_their_clips_are(tmp_path):
    path = write(tmp_path, "a.mp4,happy,train,0.5,0.2,0.3", "b.mp4,sad,train,0,1,0", "c.mp4,anger,train,0,0,1")
    data = module(path, labels=["happiness", "sadness"], other_labels="skip")
    data.setup("fit")
    assert np.allclose(soft_targets(data.splits.train, data.labels), [[5 / 7, 2 / 7], [0, 1]])
    path.write_text(path.read_text() + "d.mp4,sad,train,0,0,1\n")
    with pytest.raises(InputError, match=r"soft.csv line 5: p_happiness to p_sadness are 0"):
        module(path, labels=["happiness", "sadness"], other_labels="skip").setup("fit")


def test_soft_labels_stay_where_clips_are_split_written_and_packed(soft_data, tmp_path):
    clips = Manifest.read(soft_data)
    whole = soft_targets(clips, LABELS)
    assert np.array_equal(soft_targets(clips.select("test"), LABELS), whole[clips.table["split"].eq("test")])
    clips.write(tmp_path / "again.csv")
    again = Manifest.read(tmp_path / "again.csv", allow_outside=True)
    packed = pack(again, tmp_path / "packed", Packing(size=24))
    for other in (again, packed, Manifest.read(tmp_path / "packed/manifest.csv")):
        assert np.array_equal(soft_targets(other, LABELS), whole)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.stress)])
def test_training_batches_have_them_and_evaluations_have_labels(soft_data, workers):
    data = module(soft_data, batch_size=5, num_workers=workers)
    known = soft_targets(data.splits.train, LABELS)
    batches = list(data.train_dataloader())
    for batch in batches:
        assert torch.equal(batch.target, torch.from_numpy(known[batch.clip]))
    assert sum(map(len, batches)) == 12
    assert next(iter(data.test_dataloader())).target is None
    assert next(iter(module(soft_data, soft_labels=False).train_dataloader())).target is None


def test_mixed_clips_have_both_targets_on_one_device_and_on_several(soft_data):
    """Batches of 6 of one process, and of 3 on each of two, which cut a pair in two; balanced, so that clips appear again."""
    parts = []
    for rank, world in ((0, 1), (0, 2), (1, 2)):
        data = module(soft_data, batch_size=6 // world, mix=Mix(mixup=1, fmix=0), balanced=True, shots=3)
        data.trainer = SimpleNamespace(
            training=False, global_rank=rank, world_size=world, lightning_module=None, overfit_batches=0
        )
        batches = list(data.train_dataloader())
        data.trainer.training = True
        parts.append([data.on_after_batch_transfer(batch, 0) for batch in batches])
    known = torch.from_numpy(soft_targets(data.splits.train, LABELS))
    for whole, first, second in zip(*parts, strict=True):
        assert torch.equal(whole.target, known[whole.clip])
        partner = [place ^ 1 if place ^ 1 < len(whole) else place for place in range(len(whole))]
        assert torch.equal(whole.other_target, whole.target[partner])
        assert torch.equal(whole.other_label, whole.label[partner])
        for name in ("clip", "label", "other_label", "target", "other_target"):
            own = [getattr(part, name)[part.label != NO_INDEX] for part in (first, second)]
            assert torch.equal(getattr(whole, name), torch.cat(own))


def test_a_clip_that_cannot_be_read_has_a_target_of_nothing(tmp_path):
    data = module(write(tmp_path, *ROWS), on_error="skip")
    batch = data.train_dataloader().dataset[Draw(0, 0, 0)]
    assert (batch.label.tolist(), batch.target.tolist()) == ([NO_INDEX], [[0, 0, 0]])


def test_the_digest_of_the_training_clips_knows_the_soft_labels_that_are_used(tmp_path):
    before = write(tmp_path, *ROWS)
    hard, soft = (split_digests(module(before, soft_labels=used)) for used in (False, True))
    write(tmp_path, ROWS[0], ROWS[1], "c.mp4,anger,train,0.1,0.2,0.7")
    assert split_digests(module(before, soft_labels=False)) == hard
    changed = split_digests(module(before))
    assert {name for name in soft if soft[name] != changed[name]} == {"training"}


def test_clips_without_soft_labels_are_counted(tmp_path):
    assert (
        "1 of 3 training clips have no soft labels, and keep their label."
        in module(write(tmp_path, *ROWS)).splits.notes
    )


@pytest.mark.parametrize("benchmark", ["folders", "ferv39k"])
def test_a_benchmark_without_votes_has_no_soft_labels(tmp_path, benchmark):
    with pytest.raises(InputError, match=f"{benchmark} has no votes of annotators"):
        _ = VideoDataModule(root=str(tmp_path), benchmark=benchmark, num_workers=0, soft_labels=True).source
