"""K clips per class: drawn by the seed, all of a class that has fewer, and nothing but training clips."""

import pytest

from peclip.data.datamodule import VideoDataModule
from peclip.data.source import draw_shots
from peclip.errors import InputError
from peclip.train.runs.clips import split_digests
from tests.data.test_source import paths, table


def module(tmp_path, **options):
    rows = [f"{split}{i}.mp4,{label},{split}" for split in ("train", "test") for label in "abc" for i in range(20)]
    lines = [f"{number}{row}" for number, row in enumerate(rows)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,split", *lines, "x.mp4,d,train", "y.mp4,d,train"]))
    return VideoDataModule(str(tmp_path / "clips.csv"), num_workers=0, **options)


def test_every_class_has_k_training_clips_and_the_others_stay(tmp_path):
    everything, few = module(tmp_path).splits, module(tmp_path, shots=4).splits
    assert few.train.table["label"].value_counts().to_dict() == {"a": 4, "b": 4, "c": 4, "d": 1}
    assert paths(few.train) < paths(everything.train)
    assert (paths(few.val), paths(few.test)) == (paths(everything.val), paths(everything.test))
    assert few.notes == ["Fewer than 4 training clips, of which all are used: d 1."]


def test_the_seed_draws_and_fewer_clips_are_among_more(tmp_path):
    clips = table(tmp_path, {"a": 30, "b": 30})
    (four, _), (eight, _), (again, _) = (draw_shots(clips, shots, seed=0) for shots in (4, 8, 4))
    assert paths(four) == paths(again) < paths(eight)
    assert paths(four) != paths(draw_shots(clips, 4, seed=1)[0])


def test_the_digest_of_the_training_clips_knows_the_shots(tmp_path):
    whole, few = (split_digests(module(tmp_path, shots=shots)) for shots in (None, 4))
    assert whole["training"] != few["training"]
    assert {name: whole[name] for name in ("validation", "test")} == {
        name: few[name] for name in ("validation", "test")
    }


def test_a_clip_without_a_label_is_not_lost(tmp_path):
    assert paths(draw_shots(table(tmp_path, {"a": 3, "": 2}), 1, seed=0)[0]) >= {"3.mp4", "4.mp4"}


def test_no_clip_per_class_is_refused(tmp_path):
    with pytest.raises(InputError, match="shots is 0, expected at least 1"):
        module(tmp_path, shots=0)
