"""Numbers in lists become names of classes: in an order that is stated or shown, never guessed."""

import pytest

from peclip.data.lists.prepare import prepare_list
from peclip.errors import InputError
from tests.data.lists.written import clips, listed, rows


def test_numbers_need_names(frames):
    path = listed(frames / "b.txt", "00001 3\n00002 6\n")
    with pytest.raises(
        InputError, match=r"the labels are numbers \(3 to 6\): name them in their order with labels hap"
    ):
        prepare_list([path], frames)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (
            "fer",
            "labels is 'fer', expected names in the order of their numbers .*, or the order of one of dfew, ferv39k",
        ),
        ("happy,sad,happiness", "duplicate label 'happiness'"),
        ("happy,,sad", "'' is not a class name"),
        ("happy,sad", r"b.txt line 3: label 4, but 2 names from 0 on go to 1: happiness, sadness"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused(frames, labels, says):
    path = listed(frames / "b.txt", "00001 0\n00002 1\n00003 4\n")
    with pytest.raises(InputError, match=says):
        prepare_list([path], frames, labels)


def test_orders_of_benchmarks_have_names(frames):
    path = listed(frames / "b.txt", "00001 0\n00002 10\n")
    for order, first, last in (
        ("mafw", "anger", "disappointment"),
        ("mafw_s2d", "anger", "surprise"),
        ("MAFW_DFERCLIP", "happiness", "disappointment"),
    ):
        assert [label for _, label in rows(prepare_list([path], frames, order), "label")] == [first, last]


def test_whether_numbers_count_from_0_or_from_1_is_never_guessed(frames):
    path = listed(frames / "b.txt", "00001 1\n00002 2\n")
    with pytest.raises(
        InputError, match=r"the labels go from 1 to 2, with 7 names: do they count from 0 or from 1\? set first"
    ):
        prepare_list([path], frames, "dfew")
    assert rows(prepare_list([path], frames, "dfew", first_label=1), "label")[0][1] == "happiness"
    assert rows(prepare_list([path], frames, "dfew", first_label=0), "label")[0][1] == "sadness"
    beside = listed(frames / "test.txt", "00003 0\n")
    assert rows(prepare_list([path], frames, "dfew", test=[beside]), "label")[0][1] == "sadness"
    other = listed(frames / "test.txt", "00003 7\n")
    assert rows(prepare_list([path], frames, "dfew", test=[other]), "label")[0][1] == "happiness"


def test_lists_that_count_differently_are_refused(frames):
    one, other = listed(frames / "train.txt", "00001 0\n"), listed(frames / "test.txt", "00002 3\n00003 7\n")
    with pytest.raises(InputError, match=r"train.txt line 1 has label 0, and .*test.txt line 2 label 7 of 7 names"):
        prepare_list([one], frames, "dfew", test=[other])
    with pytest.raises(InputError, match=r"line 3: label 'sad' among numbers"):
        prepare_list([listed(frames / "c.csv", "path,label\n00001,3\n00002,sad\n")], frames, "dfew")


def test_an_order_that_the_paths_contradict_is_refused_with_that_of_the_paths(tmp_path):
    names = ["Action/Angry/0001", "Action/Happy/0002", "War/Sad/0003"]
    clips(tmp_path, *(f"faces/{name}" for name in names))
    path = listed(
        tmp_path / "test.csv", "path,id\n" + "".join(f"{n},{y}\n" for n, y in zip(names, (0, 3, 5), strict=True))
    )
    with pytest.raises(InputError, match=r"line 2: label 0 is happiness in this order, but anger by the path") as error:
        prepare_list([path], tmp_path, "ferv39k")
    assert str(error.value).endswith("by the paths the numbers are 0 anger, 3 happiness, 5 sadness")
    assert [label for _, label in rows(prepare_list([path], tmp_path, "ferv39k_s2d"), "label")] == [
        "anger",
        "happiness",
        "sadness",
    ]


def test_paths_that_name_expressions_show_where_numbers_begin(tmp_path):
    names = ["1018_WSI_DIS_XX", "1018_WSI_FEA_XX"]
    clips(tmp_path, *(f"VideoFlash/{name}.flv" for name in names))
    path = listed(
        tmp_path / "test.csv", "".join(f"/mnt/face_aligned/{n} {y}\n" for n, y in zip(names, (2, 3), strict=True))
    )
    manifest = prepare_list([path], tmp_path, "cremad")
    assert rows(manifest, "label") == [
        ("VideoFlash/1018_WSI_DIS_XX.flv", "disgust"),
        ("VideoFlash/1018_WSI_FEA_XX.flv", "fear"),
    ]
    assert manifest.notes[-1].startswith("the labels count from 1: 1 anger, 2 disgust")
    assert manifest.table["subject"].tolist() == ["1018", "1018"]


def test_names_outside_the_order_are_refused(frames):
    path = listed(frames / "b.txt", "00001 happy\n00002 bored\n")
    with pytest.raises(InputError, match=r"line 2: label 'bored' is none of happiness, sadness"):
        prepare_list([path], frames, "dfew")
    assert rows(prepare_list([path], frames), "label")[1][1] == "bored"
