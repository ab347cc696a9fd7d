"""``peclip download`` against a server on this machine, which breaks off, resumes, and lies."""

import hashlib
import io
import json
import ssl
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import Mock

import pytest

from peclip.data.download import fetch, sets
from peclip.data.download.fetch import Remote
from peclip.errors import InputError
from tests.runs import run

ACCEPTED = ("--accept_licence", "true")


class Server(ThreadingHTTPServer):
    """Serves texts and bytes by path; notes what was asked for.

    Attributes:
        files: content by path.
        breaks: after so many bytes the first answer for a path ends.
        ranges: whether ranges are served.
    """

    def __init__(self):
        self.files, self.breaks, self.ranges, self.asked = {}, {}, True, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, wanted = self.path.partition("?")[0], self.headers.get("Range")
        self.server.asked.append((path, wanted))
        content = self.server.files.get(path)
        if content is None:
            self.send_error(404)
            return
        first = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        self.send_response(206 if wanted and self.server.ranges else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : self.server.breaks.pop(path, None)])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        for name in ("ZENODO", "CREMAD_LISTS", "CREMAD_MEDIA"):
            monkeypatch.setattr(sets, name, f"{served.address}/{name.lower()}")
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def ravdess(server):
    """The record and two archives of RAVDESS; the second has members that lead elsewhere."""
    listed = []
    for actor in ("01", "02"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr(f"Actor_{actor}/01-01-03-01-01-01-{actor}.mp4", b"happy" * 1000)
            opened.writestr(f"../../Actor_{actor}/../evil-01.mp4", b"evil")
            opened.writestr("readme.txt", b"read me")
        name = f"Video_Speech_Actor_{actor}.zip"
        server.files[f"/zenodo/records/1188976/files/{name}"] = content = archive.getvalue()
        listed.append({"key": name, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"})
    listed.append({"key": "Audio_Speech_Actors_01-24.zip", "size": 1, "checksum": "md5:0"})
    server.files["/zenodo/api/records/1188976"] = json.dumps({"files": listed}).encode()
    return server


def cremad(server, name, content, pointer=None):
    """Add a video of CREMA-D."""
    text = (
        pointer
        or f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"
    )
    server.files[f"/cremad_lists/VideoFlash/{name}.flv"] = text.encode()
    server.files[f"/cremad_media/VideoFlash/{name}.flv"] = content
    before = server.files.get("/cremad_lists/SentenceFilenames.csv", b'"Stimulus_Number","Filename"\n')
    server.files["/cremad_lists/SentenceFilenames.csv"] = before + f'1,"{name}"\n'.encode()


def test_ravdess_is_fetched_unpacked_and_not_fetched_again(ravdess, tmp_path):
    result = run("download", "ravdess", "--out", tmp_path / "data", *ACCEPTED)
    assert result.status == 0, result.err
    assert "2 videos: " in result.out
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    videos = {f"data/Actor_{actor}/01-01-03-01-01-01-{actor}.mp4" for actor in ("01", "02")}
    assert found == videos | {"data/download.json"}
    ravdess.asked.clear()
    assert run("download", "ravdess", "--out", tmp_path / "data", *ACCEPTED).status == 0
    assert [path for path, _ in ravdess.asked] == ["/zenodo/api/records/1188976"]


def test_a_connection_that_breaks_off_is_resumed_at_the_byte(ravdess, tmp_path):
    path = "/zenodo/records/1188976/files/Video_Speech_Actor_01.zip"
    ravdess.breaks[path] = 3000
    assert run("download", "ravdess", "--out", tmp_path, *ACCEPTED).status == 0
    assert [wanted for asked, wanted in ravdess.asked if asked == path] == [None, "bytes=3000-"]


def test_a_fault_of_tls_or_of_the_way_to_the_server_is_a_break(server, monkeypatch, tmp_path):
    content, read, faults = b"0123456789", fetch._read, [ssl.SSLError("bad record"), OSError(113, "No route to host")]
    server.files["/file"] = content

    def broken(answer, most):
        if faults:
            monkeypatch.setattr(answer, "read", Mock(side_effect=faults.pop()))
        return read(answer, most)

    monkeypatch.setattr(fetch, "_read", broken)
    remote = Remote(f"{server.address}/file", len(content), "sha256", hashlib.sha256(content).hexdigest())
    fetch.fetch(remote, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content
    assert len(server.asked) == 3


@pytest.mark.parametrize("ranges", [True, False])
def test_what_an_interrupted_run_left_is_continued_or_replaced(server, tmp_path, ranges):
    content = bytes(range(256)) * 40
    server.files["/file"], server.ranges = content, ranges
    (tmp_path / ".file.part").write_bytes(content[:5000])
    remote = Remote(f"{server.address}/file", len(content), "sha256", hashlib.sha256(content).hexdigest())
    arrived = []
    fetch.fetch(remote, tmp_path / "file", arrived.append)
    assert (tmp_path / "file").read_bytes() == content
    assert server.asked == [("/file", "bytes=5000-")]
    assert sum(arrived) == len(content)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_another_file_than_that_of_the_checksum_is_not_kept(ravdess, tmp_path):
    path = "/zenodo/records/1188976/files/Video_Speech_Actor_01.zip"
    ravdess.files[path] = b"x" * len(ravdess.files[path])
    result = run("download", "ravdess", "--out", tmp_path, *ACCEPTED)
    assert result.status == 2
    assert result.err.endswith("is not the file of its md5 checksum; run the same command again: it resumes\n")
    assert not list(tmp_path.glob("*Actor_01*"))


def test_cremad_has_the_checksums_of_its_pointers(server, tmp_path):
    for number in range(3):
        cremad(server, f"100{number}_DFA_ANG_XX", b"video" * (number + 1))
    result = run("download", "cremad", "--out", tmp_path, *ACCEPTED)
    assert result.status == 0, result.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "VideoFlash").iterdir()} == {
        f"100{number}_DFA_ANG_XX.flv": b"video" * (number + 1) for number in range(3)
    }
    cremad(server, "1009_DFA_ANG_XX", b"wrong", pointer="<html>")
    assert run("download", "cremad", "--out", tmp_path, *ACCEPTED).err.endswith("is not a pointer of Git LFS\n")


def test_the_licence_is_shown_and_has_to_be_accepted(server, tmp_path):
    result = run("download", "ravdess", "--out", tmp_path / "data")
    assert result.status == 2
    assert "RAVDESS (24 files, 13 GB) has the licence CC BY-NC-SA 4.0 (https://creativecommons.org" in result.err
    assert "--accept_licence true" in result.err
    assert not server.asked
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dfew", "its authors give it on a signed request: see https://dfew"),
        ("imagenet", "unknown data set 'imagenet'"),
    ],
)
def test_other_data_sets_are_refused_in_one_line(name, message, tmp_path):
    result = run("download", name, "--out", tmp_path)
    assert message in result.err
    assert (result.out, result.err.count("\n")) == ("", 1)


def test_a_server_that_does_not_answer_is_one_line(server, tmp_path):
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch.fetch(Remote(f"{server.address}/none", 5, "md5", "0"), tmp_path / "none")
    result = run("download", "ravdess", "--out", tmp_path, *ACCEPTED)
    assert result.err.count("\n") == 1
    assert "/api/records/1188976: cannot be fetched (HTTP Error 404" in result.err


ARCHIVE = "Video_Speech_Actor_01.zip"


def test_an_archive_that_is_there_already_is_checked_before_it_is_unpacked(ravdess, tmp_path):
    content = ravdess.files[f"/zenodo/records/1188976/files/{ARCHIVE}"]
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as opened:
        opened.writestr("Actor_01/01-01-03-01-01-01-01.mp4", b"another video")
    (tmp_path / ARCHIVE).write_bytes(other.getvalue())
    result = run("download", "ravdess", "--out", tmp_path, *ACCEPTED)
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert f"{ARCHIVE}: is not the file of its md5 checksum: remove it and run the same command again" in result.err
    assert not (tmp_path / "Actor_01").exists()
    assert (tmp_path / ARCHIVE).read_bytes() == other.getvalue()
    (tmp_path / ARCHIVE).write_bytes(content)
    ravdess.asked.clear()
    assert run("download", "ravdess", "--out", tmp_path, *ACCEPTED).status == 0
    assert not any(path.endswith(ARCHIVE) for path, _ in ravdess.asked)
    assert (tmp_path / "Actor_01/01-01-03-01-01-01-01.mp4").read_bytes() == b"happy" * 1000


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("place", [2, 3, 30, 60])
def test_a_damaged_archive_is_one_line(compression, place, tmp_path):
    name = "Actor_01/01-01-03-01-01-01-01.mp4"
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as opened:
        opened.writestr(name, bytes(range(256)) * 10)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[30 + len(name) + place] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip: is not a zip file that can be read: remove it and run"):
        sets._unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_full_disk_is_not_taken_for_a_damaged_archive(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("Actor_01/01-01-03-01-01-01-01.mp4", b"happy")
    full = OSError(28, "No space left on device", "x.mp4")
    monkeypatch.setattr(sets, "atomic_write", Mock(side_effect=full))
    with pytest.raises(InputError, match=r"^x\.mp4: No space left on device$"):
        sets._unpack(tmp_path / "a.zip", tmp_path / "out")
