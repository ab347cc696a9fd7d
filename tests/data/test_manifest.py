"""Manifests: what is read is what was meant, and every mistake names its file and line."""

import re
import time

import pandas as pd
import pytest

from peclip.data.manifest import Manifest
from peclip.data.source import check_subjects
from peclip.errors import InputError


def write(tmp_path, text, name="clips.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def paths(manifest):
    return list(manifest.table["path"])


def test_a_row_becomes_a_clip_with_an_absolute_path_and_the_canonical_label(tmp_path):
    path = write(tmp_path, "path,label,split,fold,start,end\nsub/a.mp4,Happy,train,2,1.5,3\nb,sad,,,,\n")
    manifest = Manifest.read(path)
    first, second = manifest.clip(0), manifest.clip(1)
    assert first.path == tmp_path / "sub/a.mp4"
    assert (first.label, first.start, first.end, first.where) == ("happiness", 1.5, 3.0, "clips.csv line 2")
    assert (second.path, second.start, second.end) == (tmp_path / "b", None, None)
    assert manifest.labels == ["happiness", "sadness"]
    assert manifest.folds == [2]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,label\na.mp4,fear\n",
        b"path,label\r\na.mp4,fear\r\n\r\n",
        b" path , label\na.mp4, fear ",
        b'label,path\nfear,"a.mp4"\n',
        b"path,label\n./a.mp4,fear\n",
        b"path;label\na.mp4;fear\n",
        b'path\tlabel\r\n"a.mp4"\tfear\r\n',
        b"path,label\ra.mp4,fear\r",
        "path;label\r\na.mp4;fear\r\n".encode("utf-16"),
        b"\xfe\xff" + "path\tlabel\na.mp4\tfear\n".encode("utf-16-be"),
        "path,label\na.mp4,fear\n".encode("utf-16-le"),
        "path,label\na.mp4,fear\n".encode("utf-16-be"),
        "path,label\na.mp4,fear\n".encode("utf-32"),
    ],
    ids=[
        *("byte order mark", "windows", "spaces", "quotes and order", "dot", "semicolons", "tabs", "old mac"),
        *("utf-16", "big endian", "little endian without mark", "big endian without mark", "utf-32"),
    ],
)
def test_forms_of_the_same_manifest_are_read_alike(tmp_path, text):
    manifest = Manifest.read(write(tmp_path, text))
    assert [(manifest.clip(i).path.name, manifest.clip(i).label) for i in range(len(manifest))] == [("a.mp4", "fear")]


def test_names_with_commas_quotes_and_letters_of_any_language_survive_the_round_trip(tmp_path):
    names = ['a, "b".mp4', "é 表情.mp4", " leading.mp4"]
    Manifest(pd.DataFrame({"path": names, "label": "joy"}), source=tmp_path, root=tmp_path).write(tmp_path / "m.csv")
    assert paths(Manifest.read(tmp_path / "m.csv")) == names


def test_a_path_that_a_spreadsheet_would_compute_is_written_as_text_and_read_back(tmp_path):
    names = ["=1+1.mp4", "@a", "-b.mp4", "+c", "a=b.mp4", "＝d.mp4"]  # noqa: RUF001
    Manifest(pd.DataFrame({"path": names, "label": "joy"}), source=tmp_path, root=tmp_path).write(tmp_path / "m.csv")
    cells = [line.split(",")[0] for line in (tmp_path / "m.csv").read_text().splitlines()[1:]]
    assert cells == ["./=1+1.mp4", "./@a", "./-b.mp4", "./+c", "a=b.mp4", "./＝d.mp4"]  # noqa: RUF001
    assert paths(Manifest.read(tmp_path / "m.csv")) == names


def test_lines_are_counted_through_blank_lines(tmp_path):
    path = write(tmp_path, "path,label\na.mp4,happy\n\n\nb.mp4,sad\n")
    assert Manifest.read(path).clip(1).where == "clips.csv line 5"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: the header path,label is missing"),
        ("path,label\n", "is empty"),
        ("a.mp4,happy\nb.mp4,sad\n", "line 1: not the header of a manifest, expected path,label"),
        ("sep=;\npath;label\na;b\n", "line 1: 'sep=;' is for Excel: remove this line"),
        ("sep=,\npath,label\na,b\n", "line 1: 'sep=,' is for Excel: remove this line"),
        ("path,emotion\na,b\n", "line 1: unknown column 'emotion'; allowed are path, label, split, fold, start, end"),
        ("path,split\na,train\n", "line 1: column 'label' is missing"),
        ("label\nhappy\n", "line 1: column 'path' is missing"),
        ("path,label,path\na,b,c\n", "line 1: duplicate column 'path'"),
        ("path,label\na.mp4,happy\n,sad\n", "line 3: the path is empty"),
        ("path,label\na.mp4,happy\n  ,sad\n", "line 3: the path is empty"),
        ("path,label\na.mp4,happy\nb.mp4,\n", "line 3: the label is empty"),
        ("path,label\na.mp4,happy\nb.mp4\n", "line 3: the label is empty"),
        ("path,label\na.mp4,happy,x\n", "line 2: more values than the 2 columns of the header"),
        ("path,label\na.mp4,happy\nb.mp4,sad,x\n", "line 3: 3 values, the header has 2"),
        ("path,label\na.mp4,happy\n./a.mp4,sad\n", "line 3: duplicate clip a.mp4, first in line 2"),
        ("path,label,start\na.mp4,happy,\na.mp4,happy,0\n", "line 3: duplicate clip a.mp4, first in line 2"),
        ("path,label,start,end\na,happy,0.0,3\na,sad,3,\na,happy,,3\n", "line 4: duplicate clip a, first in line 2"),
        ("path,label,split\na.mp4,happy,train\nb.mp4,sad,trian\n", "line 3: unknown split 'trian'"),
        ("path,label,fold\na.mp4,happy,1\nb.mp4,sad,one\n", "line 3: fold 'one' is not a number"),
        ("path,label,fold\na.mp4,happy,1.5\n", "line 2: fold '1.5' is not a whole number"),
        (
            "path,label,fold\na.mp4,happy,1\nb,sad,1e30\n",
            "line 3: fold '1e30' is too large, expected a number of at most",
        ),
        ("path,label,fold\na.mp4,happy,99999999999999999999\n", "line 2: fold '99999999999999999999' is too large"),
        ("path,label,fold\na.mp4,happy,1000000000000000\n", "line 2: fold '1000000000000000' is too large"),
        ("path,label,start,end\na,happy,zero,1\n", "line 2: start 'zero' is not a number"),
        ("path;label;start\na;happy;0,0\n", "line 2: start '0,0' is not a number: write 0.0"),
        ("path,label,end\na,happy,00:00:01.28\n", "line 2: end '00:00:01.28' is not a number: expected seconds"),
        ("path,label,start,end\na,happy,0,nan\n", "line 2: end 'nan' is not a number"),
        ("path,label,start,end\na,happy,-1,1\n", "line 2: start '-1' is before"),
        ("path,label,start,end\na,happy,0,1\nb,sad,2,2\n", "line 3: the clip ends at 2.0 s, not after its start"),
        ("path,label,end\na,happy,0\n", "line 2: the clip ends at 0.0 s"),
        ("path,label,subject,video\na,happy,1,2\n", "line 1: columns 'subject' and 'video' say the same"),
        ("path,label\na,happy\npath,label\nb,sad\n", "line 3: a second header; were two files joined?"),
        ('path,label\na,happy\n"b,sad\nc,sad\n', "line 3: a quote is not closed"),
        ('path,label\n"a,happy\nb",sad\n', "line 2: a value continues on the next line"),
        (b"path,label\na,happy\n\xc4\xe3.mp4,sad\n", "line 3: not UTF-8 text"),
        (b"\0\0\0\x18ftypmp42", "is not a text file"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_line(tmp_path, text, expected):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        Manifest.read(path)
    message = str(error.value)
    assert expected in message
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        Manifest.read(tmp_path / "none.csv")
    command = re.escape(f"peclip prepare folders --root {tmp_path} --out mine.csv makes a manifest")
    with pytest.raises(InputError, match=f"is a folder, expected a text file: {command}"):
        Manifest.read(tmp_path)


def test_prediction_needs_no_labels(tmp_path):
    manifest = Manifest.read(write(tmp_path, "path\na.mp4\nb.mp4\n"), labels_required=False)
    assert [manifest.clip(i).label for i in range(2)] == [None, None]
    assert manifest.labels == []
    some = Manifest.read(write(tmp_path, "path,label\na.mp4,\nb.mp4,sad\n"), labels_required=False)
    assert [some.clip(i).label for i in range(2)] == [None, "sadness"]


@pytest.mark.parametrize("column", ["subject", "video"])
def test_people_and_videos_are_kept_as_they_are_written(column, tmp_path):
    manifest = Manifest.read(write(tmp_path, f"path,label,{column}\na,sad, 007 \nb,sad,Anna\nc,sad,\n"))
    assert manifest.table["subject"].tolist() == ["007", "Anna", ""]
    manifest.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text().splitlines() == [
        "path,label,subject",
        "a,sadness,007",
        "b,sadness,Anna",
        "c,sadness,",
    ]
    assert Manifest.read(tmp_path / "again.csv").table["subject"].tolist() == ["007", "Anna", ""]


def test_spellings_of_one_person_that_look_the_same_are_one(tmp_path):
    composed, decomposed = "Zo\u00eb B", "Zoe\u0308\u00a0B"
    lines = f"path,label,split,subject\na,sad,train,{composed}\nb,sad,test,{decomposed}\nc,sad,train,zo\u00eb b\n"
    manifest = Manifest.read(write(tmp_path, lines))
    assert manifest.table["subject"].tolist() == [composed, composed, "zo\u00eb b"]
    with pytest.raises(InputError, match="is in train here and in test in"):
        check_subjects(manifest, None, 0.1)


def test_the_same_file_may_hold_several_clips(tmp_path):
    manifest = Manifest.read(write(tmp_path, "path,label,start,end\na,sad,0,1\na,sad,1,2\na,sad,,\n"))
    assert len(manifest) == 3


@pytest.mark.parametrize("outside", ["../a.mp4", "sub/../../a.mp4", "/etc/passwd", ".."])
def test_a_clip_outside_the_folder_needs_the_option(tmp_path, outside):
    (tmp_path / "m").mkdir()
    path = write(tmp_path / "m", f"path,label\nb.mp4,happy\n{outside},sad\n")
    with pytest.raises(InputError, match=r"line 3: .* outside the manifest's folder; set allow_outside to true"):
        Manifest.read(path)
    clip = Manifest.read(path, allow_outside=True).clip(1)
    assert clip.path.is_absolute()
    assert not clip.path.is_relative_to(tmp_path / "m")


def test_paths_of_windows_are_read_or_their_kind_is_named(tmp_path):
    (tmp_path / r"odd\name.mp4").touch()
    (tmp_path / "C:").mkdir()
    (tmp_path / "C:" / "here.mp4").touch()
    manifest = Manifest.read(
        write(tmp_path, "path,label\nsub\\a.mp4,happy\n.\\b.mp4,sad\nodd\\name.mp4,sad\nC:/here.mp4,sad\n")
    )
    assert paths(manifest) == ["sub/a.mp4", "b.mp4", r"odd\name.mp4", "C:/here.mp4"]
    for name in (r"D:\clips\a.mp4", "D:/clips/a.mp4", r"\\server\share\a.mp4"):
        with pytest.raises(InputError) as error:
            Manifest.read(write(tmp_path, f"path,label\na.mp4,happy\n{name},sad\n"), allow_outside=True)
        assert f"line 3: {name!r} is a path of Windows: peclip prepare list {tmp_path}/clips.csv" in str(error.value)
    with pytest.raises(InputError, match="outside the manifest's folder"):
        Manifest.read(write(tmp_path, "path,label\n..\\a.mp4,happy\n"))


def test_a_path_is_that_of_the_file_with_other_spaces_around_or_letters_composed_otherwise(tmp_path):
    composed, decomposed = "Zo\u00eb.mp4", "Zoe\u0308.mp4"
    for name in ("v.mp4", " kept.mp4", decomposed, "both.mp4", " both.mp4"):
        (tmp_path / name).touch()
    lines = ["v.mp4 ", " kept.mp4", composed, " both.mp4", "gone.mp4 ", f"./{composed} "]
    text = "".join(f"sad, train,{line}\n" for line in lines[:5])
    assert paths(Manifest.read(write(tmp_path, f"label,split,path\n{text}"))) == [
        *("v.mp4", " kept.mp4", decomposed, " both.mp4", "gone.mp4 ")
    ]
    assert paths(Manifest.read(write(tmp_path, f"label, path\nsad, {lines[5]}\n"))) == [decomposed]


@pytest.mark.parametrize(
    ("text", "found", "numbers"),
    [
        ("/home/x/frames/00001 35 4\n/home/x/frames/00002 16 0\n", "PATH FRAMES LABEL without a header", True),
        ("/home/x/frames/00001 4\n/home/x/frames/00 02 0\n", "PATH LABEL without a header", True),
        ("Action/Sad/0010 Sad\nAction/Sad/0011 Sad\n", "PATH LABEL without a header", False),
        ("path,id\nArgue/Sad/0045,5\n", "path,id with a header", True),
        ("video_name,label\n1,6\n2,7\n", "video_name,label with a header", True),
        ("datei;gefühl\nx.mp4;6\ny.mp4;7\n", "datei;gefühl with a header", True),
        ("x.mp4\t6\r\ny.mp4\t7\r\n", "PATH<TAB>LABEL without a header", True),
        ("00001,3\r00002,4\r", "PATH,LABEL without a header", True),
        ("03747.mp4\tanger\t他\tHe frowns.\n", "PATH<TAB>LABEL<TAB>... without a header", False),
        ("/a,b/1 35 4\n/a,b/2 35 4\n", "PATH FRAMES LABEL without a header", True),
        ("a.mp4,12,happy\n", "PATH,FRAMES,LABEL without a header", False),
        ("path label\na.mp4 happy\n", "path label with a header", False),
        ("path,class,emotion\na.mp4,3,happy\n", "path,class,emotion with a header", False),
        ("\n".join(f"D:\\x\\{n} 3" for n in range(20_000)), "PATH LABEL without a header", True),
    ],
)
def test_a_list_of_another_form_is_named_with_the_command_that_reads_it(tmp_path, text, found, numbers):
    path = write(tmp_path, text, "list.txt")
    with pytest.raises(InputError) as error:
        Manifest.read(path, labels_required=False, allow_outside=True)
    message = str(error.value)
    assert message.startswith(f"{path} line 1: ")
    assert f"; this is a list {found}: peclip prepare list {path} " in message
    assert message.endswith(" --root DIR --out NEW.csv makes a manifest of it")
    assert ("--labels NAMES" in message) == numbers


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04\x14\0", "is an Excel workbook or another zip file: save the table as csv"),
        (b"PAR1\x15", "is a Parquet file"),
        (b"\xff\xfe\x00\xd8\x00", "not valid UTF-16 text; save the file as UTF-8"),
        (b"path,label\na\0b,c\n", "is not a text file"),
        (b"path,label\n" + b"a.mp4,happy\n" * 9000 + b"\0", "is not a text file"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path, content, says):
    with pytest.raises(InputError, match=f"clips.csv: {says}"):
        Manifest.read(write(tmp_path, content))


def test_a_path_of_another_machine_names_the_command_that_finds_the_clip(tmp_path):
    path = write(tmp_path, "path,label\n/mnt/data1/brain/DFEW/00001,happy\n")
    with pytest.raises(InputError, match=f"another machine, peclip prepare list {path} --root DIR --out NEW.csv finds"):
        Manifest.read(path)


def test_absolute_paths_inside_the_folder_are_ordinary(tmp_path):
    manifest = Manifest.read(write(tmp_path, f"path,label\n{tmp_path}/sub/a.mp4,happy\nsub/../b.mp4,sad\n"))
    assert paths(manifest) == ["sub/a.mp4", "b.mp4"]


def test_a_manifest_written_elsewhere_names_the_same_files(tmp_path):
    manifest = Manifest.read(write(tmp_path, "path,label,fold\nx/a.mp4,happy,1\ny/b.mp4,sad,2\n"))
    manifest.write(tmp_path / "x" / "inner.csv")
    manifest.write(tmp_path.parent / "outer.csv")
    for path in (tmp_path / "x" / "inner.csv", tmp_path.parent / "outer.csv"):
        again = Manifest.read(path, allow_outside=True)
        assert [again.clip(i).path for i in range(2)] == [manifest.clip(i).path for i in range(2)]
        assert again.table["fold"].tolist() == [1, 2]
    assert paths(Manifest.read(tmp_path.parent / "outer.csv")) == [
        f"{tmp_path.name}/x/a.mp4",
        f"{tmp_path.name}/y/b.mp4",
    ]
    assert (tmp_path / "x" / "inner.csv").read_text().startswith("path,label,fold\na.mp4,happiness,1\n/")


def test_writing_leaves_nothing_half_written(tmp_path):
    manifest = Manifest.read(write(tmp_path, "path,label\na.mp4,happy\n"))
    blocked = tmp_path / "folder.csv"
    blocked.mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        manifest.write(blocked)
    with pytest.raises(InputError, match="cannot be written"):
        manifest.write(tmp_path / "clips.csv" / "below_a_file.csv")
    foreign = Manifest(pd.DataFrame({"path": ["ok", "b\udcff.mp4"]}, dtype=object), source=tmp_path, root=tmp_path)
    with pytest.raises(InputError, match=r"the name of a clip is not UTF-8, rename it: 'b\\udcff\.mp4'"):
        foreign.write(tmp_path / "foreign.csv")
    assert sorted(child.name for child in tmp_path.iterdir()) == ["clips.csv", "folder.csv"]


def test_labels_are_checked_against_a_list(tmp_path):
    manifest = Manifest.read(write(tmp_path, "path,label\na,happy\nb,joy\n"))
    with pytest.raises(InputError, match=r"clips\.csv line 3: unknown label 'joy', expected one of happiness, sadness"):
        manifest.check_labels(["Happy", "sadness"])
    with pytest.raises(InputError, match="class 'fear' is empty"):
        manifest.check_labels(["happiness", "joy", "fear"])
    manifest.check_labels(["happiness", "joy", "fear"], allow_empty=True)
    manifest.check_labels(["happiness", "joy"])


def test_missing_clips_are_found(tmp_path):
    write(tmp_path, "x", "a.mp4")
    (tmp_path / "frames").mkdir()
    manifest = Manifest.read(write(tmp_path, "path,label\na.mp4,happy\nb.mp4,sad\nframes,sad\n"))
    assert paths(manifest.missing()) == ["b.mp4"]


@pytest.mark.stress
def test_a_million_rows_are_read_in_seconds(tmp_path):
    rows = "".join(f"part_{i % 100}/{i}.mp4,happy,train,{i % 5},0.5,2\n" for i in range(1_000_000))
    path = write(tmp_path, "path,label,split,fold,start,end\n" + rows)
    began = time.process_time()
    manifest = Manifest.read(path)
    assert time.process_time() - began < 20
    assert manifest.clip(999_999).where == "clips.csv line 1000001"


@pytest.mark.parametrize("header", ["Path,Label,Split,Subject,P_Happy,p_sad", "PATH;LABEL;SPLIT;Video;p_happy;P_SAD"])
def test_the_names_of_columns_are_read_in_upper_and_lower_case(tmp_path, header):
    row = "a.mp4,sad,test,Anna,0,1".replace(",", ";" if ";" in header else ",")
    table = Manifest.read(write(tmp_path, f"{header}\n{row}\n")).table
    assert [*table[["label", "split", "subject", "p_happiness", "p_sadness"]].loc[0]] == [
        "sadness",
        "test",
        "Anna",
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("Path,Label,Split,Age", "unknown column 'Age': remove it; allowed are "),
        ("path,label,emotion", "unknown column 'emotion': remove it; allowed are "),
        ("File,Emotion,Split", "unknown column 'File'; allowed are "),
        ("Path,path,label", "duplicate column 'path'"),
    ],
)
def test_a_manifest_with_a_mistake_in_its_header_is_not_said_to_be_a_list(tmp_path, header, says):
    path = write(tmp_path, f"{header}\na.mp4,3,train,30\n")
    with pytest.raises(InputError) as error:
        Manifest.read(path)
    assert str(error.value).startswith(f"{path} line 1: {says}")
    assert "prepare list" not in str(error.value)
    assert str(error.value).endswith("; rename 'file' to path and 'emotion' to label") == header.startswith("File")


def test_advice_on_a_manifest_names_no_command_that_would_lose_its_columns(tmp_path):
    moved = write(tmp_path, "path,label,split\n/mnt/a.mp4,happy,train\n")
    with pytest.raises(InputError, match=r"another machine, write paths relative to the manifest's folder$"):
        Manifest.read(moved)
    numbered = Manifest.read(write(tmp_path, "path,label,split\na.mp4,3,train\n"))
    assert numbered.notes == ("the labels are numbers: write their names",)
