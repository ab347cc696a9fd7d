"""`check`: published counts beside the found ones, every kind of trouble found, and the right verdict."""

import io
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from peclip.console import PlainConsole
from peclip.data.benchmarks import read_benchmark
from peclip.data.benchmarks.comparison import COMPARISONS
from peclip.data.check import check, inspection
from peclip.data.check.counts import clip_counts
from peclip.data.check.duplicates import find_duplicates
from peclip.data.check.published import PUBLISHED
from peclip.data.manifest import Manifest
from peclip.errors import InputError
from tests.data.checked import four_clips, manifest_of
from tests.trees import TREES, dfew_tree, ferv39k_tree, ravdess_tree, write_clip


def findings(report):
    return {finding.what: list(finding.clips) for finding in report.findings}


def found(report):
    return {count.what: count.found for count in report.counts}


@pytest.mark.parametrize("name", TREES)
def test_a_sound_tree_of_every_layout_is_fit_though_its_counts_differ(tmp_path, name):
    report = check(read_benchmark(name, TREES[name](tmp_path / name)), name, workers=2)
    assert report.fit_to_train, report.findings
    assert set(findings(report)) <= {"short"}
    clips = report.counts[0]
    assert (clips.what, clips.published, clips.verdict) == ("clips", PUBLISHED[name].clips, "differs")


def test_a_manifest_of_the_published_size_agrees_in_every_count():
    classes = PUBLISHED["ferv39k"].classes
    rows = [
        {"path": f"{split}/{label}/{number}", "label": label, "split": split}
        for split, counts in classes.items()
        for label, count in counts.items()
        for number in range(count)
    ]
    counts = list(clip_counts(manifest_of(rows, Path("ferv39k")), PUBLISHED["ferv39k"]))
    assert {count.verdict for count in counts} == {"equal"}
    assert len(counts) == 4 + 14


def test_the_counts_of_folds_stand_beside_the_published_ones(tmp_path):
    report = check(read_benchmark("dfew", dfew_tree(tmp_path / "dfew")))
    assert report.benchmark == "dfew"
    count = next(count for count in report.counts if count.what == "fold 5: test")
    assert (count.found, count.published, count.verdict) == (3, 2336, "differs")
    count = next(count for count in report.counts if count.what == "fold 1 train: disgust")
    assert (count.found, count.published) == (2, 116)


def test_frames_are_counted_and_short_clips_named_without_harm(tmp_path):
    rows = four_clips(tmp_path)
    write_clip(tmp_path / "short", 9, frames=5)
    rows.append({"path": "short", "label": "sad", "split": "test", "source": "m.csv", "line": 6})
    report = check(manifest_of(rows, tmp_path))
    assert findings(report) == {"short": ["m.csv line 6: 5 frames, the last is repeated"]}
    assert report.fit_to_train
    assert found(report)["frames"] == 4 * 16 + 5
    assert found(report)["test: clips under 16 frames"] == 1
    assert "short" not in findings(check(manifest_of(rows, tmp_path), num_frames=5))


@pytest.mark.parametrize("full", [False, True])
def test_the_frames_of_pieces_of_a_video_are_counted_too(tmp_path, full):
    write_clip(tmp_path / "0.mp4", 0, 40)
    pieces = {"path": "0.mp4", "label": ["happy", "sad"], "start": [0.2, 0.6], "end": [0.32, None], "source": "m.csv"}
    report = check(manifest_of(pieces, tmp_path), num_frames=4, full=full)
    assert findings(report)["short"] == ["m.csv: 3 frames, the last is repeated"]
    assert found(report)["frames"] == 3 + 25


def test_a_full_decode_decodes_each_video_once(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "read_chosen", None)
    assert check(manifest_of(four_clips(tmp_path), tmp_path), full=True).fit_to_train


@pytest.mark.parametrize("full", [False, True])
def test_missing_empty_and_undecodable_clips_are_distinguished_and_named(tmp_path, full):
    rows = four_clips(tmp_path)
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.mp4").write_text("no video" * 100)
    whole = (tmp_path / "0.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    for number, name in enumerate(("gone.mp4", "zero.mp4", "folder", "text.mp4", "cut.mp4"), start=6):
        rows.append({"path": name, "label": "sad", "split": "train", "source": "m.csv", "line": number})
    report = check(manifest_of(rows, tmp_path), full=full)
    assert not report.fit_to_train
    named = {what: [clip.split(":")[0] for clip in clips] for what, clips in findings(report).items()}
    assert named == {
        "missing": ["m.csv line 6"],
        "empty": ["m.csv line 7", "m.csv line 8"],
        "undecodable": ["m.csv line 9", "m.csv line 10"],
    }


def test_a_broken_frame_that_no_test_reads_is_found_by_a_full_decode(tmp_path):
    rows = four_clips(tmp_path)
    write_clip(tmp_path / "long", 9, frames=40)
    (tmp_path / "long" / "1.jpg").write_bytes(b"broken")
    rows.append({"path": "long", "label": "sad", "split": "train", "source": "m.csv", "line": 6})
    assert check(manifest_of(rows, tmp_path)).fit_to_train
    assert list(findings(check(manifest_of(rows, tmp_path), full=True))) == ["undecodable"]


def test_a_clip_that_is_there_twice_is_fatal_only_across_splits_or_labels(tmp_path):
    rows = four_clips(tmp_path)
    shutil.copy(tmp_path / "0.mp4", tmp_path / "copy.mp4")
    copy = {"path": "copy.mp4", "label": "happy", "split": "train", "source": "m.csv", "line": 6}
    report = check(manifest_of([*rows, copy], tmp_path))
    assert findings(report) == {"duplicate": ["0.mp4 (happiness, train) = copy.mp4 (happiness, train)"]}
    assert report.fit_to_train
    for change in ({"split": "test"}, {"label": "sad"}):
        report = check(manifest_of([*rows, {**copy, **change}], tmp_path))
        assert list(findings(report)) == ["duplicate across splits or labels"]
        assert not report.fit_to_train


def test_ranges_of_one_file_are_no_duplicates_and_frames_folders_are_compared(tmp_path):
    rows = four_clips(tmp_path)
    halves = [{**rows[0], "start": 0.0, "end": 0.3}, {**rows[0], "start": 0.3, "end": 0.6}]
    parts = findings(check(manifest_of([*rows[1:], *halves], tmp_path), full=True))
    assert [clip.split(": ")[1] for clip in parts.pop("short")] == [
        "8 frames, the last is repeated",
        "7 frames, the last is repeated",
    ]
    assert not parts
    write_clip(tmp_path / "a", 20, 16)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    folders = [{**rows[0], "path": name} for name in "ab"]
    assert list(findings(check(manifest_of([*rows, *folders], tmp_path)))) == ["duplicate"]


def test_an_actor_on_both_sides_of_a_split_is_fatal(tmp_path):
    manifest = read_benchmark("ravdess", ravdess_tree(tmp_path / "r"))
    assert check(manifest).fit_to_train
    manifest.table.loc[0, "fold"] = 6
    report = check(manifest)
    assert findings(report)["person on both sides of a split"] == ["actor 01: fold 1, fold 6"]
    assert not report.fit_to_train


def test_a_subject_in_several_splits_is_fatal(tmp_path):
    rows = [{**row, "subject": name} for row, name in zip(four_clips(tmp_path), "abca", strict=True)]
    for number, row in enumerate(rows):
        row["split"] = "test" if number % 2 else "train"
    report = check(manifest_of(rows, tmp_path))
    assert findings(report)["person on both sides of a split"] == ["subject a: test, train"]
    assert not report.fit_to_train


def test_a_class_that_cannot_be_learnt_is_fatal(tmp_path):
    rows = four_clips(tmp_path)
    rows[3]["label"] = "fear"
    assert findings(check(manifest_of(rows, tmp_path))) == {"empty class": ["fear: no clip to train on"]}
    for number, row in enumerate(rows):
        row.update(split="", fold=number % 2 + 1)
    report = check(manifest_of(rows, tmp_path))
    assert findings(report)["class empty in a fold"] == [
        "happiness: no clip to train on in fold 1",
        "sadness: no clip to train on in fold 2",
        "fear: no clip to train on in fold 2",
    ]
    assert report.fit_to_train


def test_clips_of_two_benchmarks_in_one_manifest_are_refused(tmp_path):
    one = read_benchmark("dfew", dfew_tree(tmp_path / "dfew"))
    other = read_benchmark("ferv39k", ferv39k_tree(tmp_path / "ferv39k"))
    mixed = Manifest(pd.concat([one.table, other.table]), source=tmp_path / "m.csv", root=tmp_path)
    with pytest.raises(InputError, match=r"clips of several benchmarks are mixed: dfew \(.*\) and ferv39k \(.*\)"):
        check(mixed)
    with pytest.raises(InputError, match="unknown benchmark 'x', expected one of dfew"):
        check(one, "x")
    for name in ("num_frames", "workers"):
        with pytest.raises(InputError, match=f"{name} is 0, expected at least 1"):
            check(one, **{name: 0})


def test_the_manifest_s_name_tells_the_benchmark(tmp_path):
    rows = four_clips(tmp_path)
    named = Manifest(pd.DataFrame(rows), source=tmp_path / "mafw.csv", root=tmp_path)
    assert check(named).benchmark == "mafw"
    assert check(manifest_of(rows, tmp_path)).benchmark is None


def test_the_report_says_with_whom_numbers_compare_and_how_a_list_is_read(tmp_path):
    (tmp_path / "cremad.csv").write_text("path,label\n/mnt/a/1019_DFA_ANG_XX,0\n/mnt/a/1019_DFA_DIS_XX,1\n")
    report = check(Manifest.read(tmp_path / "cremad.csv", allow_outside=True))
    assert report.notes == [
        f"the labels are numbers: peclip prepare list {tmp_path}/cremad.csv --labels NAMES --root DIR --out NEW.csv names them",
        f"comparable: {COMPARISONS['cremad'].note}",
        "comparable: with 2 classes, numbers do not compare with published ones, which are on 6",
        f"no clip is there; if the paths are of another machine: peclip prepare list {tmp_path}/cremad.csv --root DIR --out NEW.csv",
        PUBLISHED["cremad"].note,
    ]


def test_names_in_a_report_are_shown_and_not_obeyed(tmp_path):
    rows = four_clips(tmp_path)
    rows[0]["path"] = "gone\x1b[2J\n.mp4"
    text = io.StringIO()
    check(manifest_of(rows, tmp_path)).print(PlainConsole(file=text, width=160))
    assert r"gone\x1b[2J\n.mp4" in text.getvalue()
    assert "\x1b" not in text.getvalue()


def test_the_report_prints_tables_and_a_verdict(tmp_path):
    rows = four_clips(tmp_path)
    rows[0]["path"] = "gone[1].mp4"
    text = io.StringIO()
    check(manifest_of(rows, tmp_path)).print(PlainConsole(file=text, width=160))
    assert "clips" in text.getvalue()
    assert "gone[1].mp4" in text.getvalue()
    assert "none of these: empty, undecodable, short, several video streams, duplicate" in text.getvalue()
    assert text.getvalue().rstrip().endswith("fit to train on: no (missing)")


def pieces_of(tmp_path, *pieces, path="0.mp4", **columns):
    """Four sound clips of which the first is replaced by pieces of a file, given as (start, end, split)."""
    rows = four_clips(tmp_path)
    parts = [{**rows[0], "path": path, "start": start, "end": end, "split": split} for start, end, split in pieces]
    return [*rows[1:], *({**part, **columns} for part in parts)]


@pytest.mark.parametrize(
    ("pieces", "named"),
    [
        ([(None, None, "train"), (0, None, "test")], "0.mp4 (happiness, train) = 0.mp4 (happiness, test)"),
        (
            [(None, None, "train"), (0.1, 0.5, "test")],
            "0.mp4 (happiness, train) overlaps 0.mp4 0.1 to 0.5 s (happiness, test)",
        ),
        (
            [(0.04, 0.6, "val"), (0, 0.6, "train")],
            "0.mp4 0 to 0.6 s (happiness, train) overlaps 0.mp4 0.04 to 0.6 s (happiness, val)",
        ),
        (
            [(0, 0.4, "train"), (0, 0.1, "test"), (0.3, None, "test")],
            "0.mp4 0 to 0.4 s (happiness, train) overlaps 0.mp4 0 to 0.1 s (happiness, test)",
        ),
    ],
)
def test_pieces_of_a_file_that_overlap_across_splits_are_fatal(tmp_path, pieces, named):
    report = check(manifest_of(pieces_of(tmp_path, *pieces), tmp_path))
    assert findings(report)["duplicate across splits or labels"][0] == named
    assert report.verdict == "no (duplicate across splits or labels)"


def test_pieces_that_overlap_are_found_in_copies_of_a_file_and_in_folds(tmp_path):
    rows = pieces_of(tmp_path, (0, 0.4, "train"))
    shutil.copy(tmp_path / "0.mp4", tmp_path / "copy.mp4")
    copy = {**rows[-1], "path": "copy.mp4", "start": 0.2, "end": None}
    overlap = "0.mp4 0 to 0.4 s (happiness, {}) overlaps copy.mp4 from 0.2 s on (happiness, {})"
    report = check(manifest_of([*rows, {**copy, "split": "test"}], tmp_path))
    assert findings(report)["duplicate across splits or labels"] == [overlap.format("train", "test")]
    folds = [{**row, "split": "", "fold": fold} for row, fold in zip([*rows, copy], (1, 2, 3, 1, 2), strict=True)]
    report = check(manifest_of(folds, tmp_path))
    assert findings(report)["duplicate across splits or labels"] == [overlap.format("fold 1", "fold 2")]
    roles = ("train", "train", "test", "train", "test")
    stated = [{**row, "fold_1": role, "fold_2": ""} for row, role in zip([*rows, copy], roles, strict=True)]
    report = check(manifest_of(stated, tmp_path))
    assert findings(report)["duplicate across splits or labels"] == [overlap.format("fold 1 train", "fold 1 test")]


@pytest.mark.parametrize(
    ("pieces", "verdict"),
    [
        ([(0, 0.3, "train"), (0.3, None, "test")], "yes"),
        ([(0, 0.1 + 0.2, "train"), (0.3, None, "test")], "yes"),  # 0.30000000000000004
        # No other video could validate.
        (
            [(0, 0.4, "train"), (0.2, 0.6, "train")],
            "yes, but not with the default options of peclip fit: see the notes",
        ),
    ],
)
def test_pieces_of_a_file_that_touch_or_overlap_in_one_split_are_fit(tmp_path, pieces, verdict):
    report = check(manifest_of(pieces_of(tmp_path, *pieces), tmp_path), num_frames=8)
    assert findings(report) == {}
    assert report.verdict == verdict


def test_pieces_of_a_long_file_are_compared_in_a_moment(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"film")
    times = [float(number) for number in range(50_000)]
    table = {"path": "film.mp4", "label": "happy", "start": times, "end": [time + 1 for time in times]}
    split = ["train", "test"] * 25_000
    manifest = Manifest(pd.DataFrame({**table, "split": split}), source=tmp_path / "m.csv", root=tmp_path)
    began = time.perf_counter()
    assert find_duplicates(manifest, [split]) == ([], [])
    assert time.perf_counter() - began < 10
