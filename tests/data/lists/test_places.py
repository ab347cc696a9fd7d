"""Places of the clips of a list: below any folder, under the names that the list gives them."""

import pytest

from peclip.data.lists.prepare import prepare_list
from peclip.errors import InputError
from tests.data.lists.written import OLD, clips, listed


@pytest.mark.parametrize("root", ["", "DFEW", "DFEW/Clip", "DFEW/Clip/jpg_256"])
def test_the_root_may_be_any_folder_above_the_clips(tmp_path, root):
    clips(tmp_path, "DFEW/Clip/jpg_256/02522", "DFEW/Clip/jpg_256/02536", "other/x")
    path = listed(
        tmp_path / "l.csv",
        "/mnt/data1/brain/AC/DFEW/Clip/jpg_256/02522 5\n/mnt/data1/brain/AC/DFEW/Clip/jpg_256/02536 0\n",
    )
    manifest = prepare_list([path], tmp_path / root, "dfew")
    assert manifest.clip(1).path == tmp_path / "DFEW/Clip/jpg_256/02536"


def test_clips_that_are_found_in_two_ways_need_the_option(tmp_path):
    clips(tmp_path, "frames/00001", "00001", "00002", "frames/00002")
    path = listed(tmp_path / "l.txt", f"{OLD}/00001 0\n{OLD}/00002 1\n")
    with pytest.raises(
        InputError, match=rf"found in two ways: set drop 3 \({tmp_path}/frames\) or drop 4 \({tmp_path}\)"
    ):
        prepare_list([path], tmp_path, "dfew")
    assert prepare_list([path], tmp_path, "dfew", drop=3).clip(0).path == tmp_path / "frames/00001"
    assert prepare_list([path], tmp_path, "dfew", drop=4).clip(0).path == tmp_path / "00001"
    with pytest.raises(InputError, match=r"l.txt line 1: no such clip: .*datasets/frames/00001"):
        prepare_list([path], tmp_path, "dfew", drop=2)
    with pytest.raises(InputError, match=r"l.txt line 1: drop is 5, but the path has 5 parts"):
        prepare_list([path], tmp_path, "dfew", drop=5)
    with pytest.raises(InputError, match="drop is -1, expected at least 0"):
        prepare_list([path], tmp_path, "dfew", drop=-1)
    with pytest.raises(InputError, match="first_label is 2, expected 0 or 1"):
        prepare_list([path], tmp_path, "dfew", first_label=2)


def test_names_in_two_folders_are_refused_unless_one_is_that_of_the_list(tmp_path):
    clips(tmp_path, "Clip/clip_224x224/00001", "Clip/clip_224x224_16f/00001")
    bare = listed(tmp_path / "l.csv", "00001,0\n")
    with pytest.raises(
        InputError, match=rf"are in {tmp_path}/Clip/clip_224x224 and in {tmp_path}/Clip/clip_224x224_16f: name"
    ):
        prepare_list([bare], tmp_path, "dfew")
    named = listed(tmp_path / "l.txt", "/x/clip_224x224_16f/00001 16 0\n")
    assert prepare_list([named], tmp_path, "dfew").clip(0).path == tmp_path / "Clip/clip_224x224_16f/00001"


def test_letters_of_a_name_may_be_composed_or_decomposed(tmp_path):
    clips(tmp_path, "frames/Zoe\u0308.mp4", "frames/Lea.mp4")
    path = listed(tmp_path / "l.txt", f"{OLD}/Zo\u00eb 0\n{OLD}/Lea 1\n")
    assert not len(prepare_list([path], tmp_path, "dfew").missing())


def test_a_clip_with_two_files_is_refused(tmp_path):
    clips(tmp_path, "00001.mp4", "00001.avi")
    with pytest.raises(InputError, match=r"00001 may be 00001.avi or 00001.mp4; keep one"):
        prepare_list([listed(tmp_path / "l.csv", "00001,0\n")], tmp_path, "dfew")


def test_where_no_clip_is_found_the_first_path_is_named(tmp_path):
    path = listed(tmp_path / "l.txt", f"{OLD}/00001 0\n")
    with pytest.raises(
        InputError, match=rf"l.txt line 1: no clip of this list is below {tmp_path}: expected home/someone/"
    ):
        prepare_list([path], tmp_path, "dfew")
    with pytest.raises(InputError, match="no such folder"):
        prepare_list([path], tmp_path / "none", "dfew")


def test_a_path_may_not_leave_the_root(frames):
    for name in ("../frames/00001", "frames/../../00001", "/"):
        with pytest.raises(InputError, match=r"l.csv line 1: .* is not the path of a clip"):
            prepare_list([listed(frames / "l.csv", f"{name},0\n")], frames, "dfew")
