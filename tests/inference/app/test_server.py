"""The server from outside: its endpoint, its limits, and what it does not tell."""

import errno
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import peclip
from peclip.commands.serve import serve
from peclip.errors import InputError
from peclip.inference.app.store import temporary_folder
from tests.inference.app.conftest import MOST_MB
from tests.lacking import needs_gradio, needs_yunet
from tests.media import write_video
from tests.scenes import Visit, film

pytestmark = needs_gradio

ROOT = Path(peclip.__file__).parents[1]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "somebody.mp4"
    write_video(path, 25, frames=film([Visit(1, 100, 60, range(25))], 25), codec_options={"crf": "28"})
    return path


@pytest.fixture(scope="module")
def client(served):
    with httpx.Client(base_url=served.url, timeout=120) as client:
        yield client


def upload(client, path, name=None):
    with path.open("rb") as file:
        answer = client.post("/gradio_api/upload", files={"files": (name or path.name, file)})
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def call(client, *data, name="recognize"):
    """The event and the data with which a call ends."""
    event = client.post(f"/gradio_api/call/{name}", json={"data": [*data]}).json()["event_id"]
    lines = client.get(f"/gradio_api/call/{name}/{event}").text.strip().splitlines()
    return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


@needs_yunet
def test_the_endpoint_answers_and_deletes_the_upload(client, served, video, net):
    name = upload(client, video)
    assert client.get(f"/gradio_api/file={name}").headers["content-type"] == "video/mp4"
    event, (answer,) = call(client, name)
    assert event == "complete"
    (person,) = answer["persons"]
    assert (answer["file"], answer["labels"], person["person"]) == ("somebody.mp4", net.labels, 1)
    assert person["label"] in net.labels
    assert sum(person["probability"].values()) == pytest.approx(1, abs=1e-4)
    assert client.get(f"/gradio_api/file={name}").status_code == 404
    assert not glob("**/somebody.mp4", root_dir=served.folder, recursive=True)
    files = zipfile.ZipFile(io.BytesIO(client.get(answer["files"]).content))
    assert {*files.namelist()} == {
        *("timeline.csv", "timeline.json", "segments.csv", "summary.csv", "people/somebody-1.jpg"),
        *(f"somebody.{suffix}" for suffix in ("png", "srt", "vtt", "eaf")),
    }


@pytest.mark.slow
@needs_yunet
def test_faces_of_an_answer_are_merged_and_unmerged_by_the_endpoint(client, served, tmp_path):
    path = tmp_path / "twice.mp4"
    visits = [Visit(1, 20, 60, range(13)), Visit(1, 20, 60, range(57, 70)), Visit(4, 190, 60, range(70))]
    write_video(path, 70, frames=film(visits, 70), codec_options={"crf": "28"})
    _, (first,) = call(client, upload(client, path))
    assert [person["person"] for person in first["persons"]] == [1, 2, 3]
    before = (served.folder / first["answer"] / "recognized.zip").open("rb")  # a download that has begun
    again = next(person["person"] for person in first["persons"] if person["person"] > 1 and person["seconds"] < 2)
    event, (merged,) = call(client, first["answer"], [f"1,{again}"], name="merge")
    assert (event, len(merged["persons"]), merged["answer"]) == ("complete", 2, first["answer"])
    assert merged["persons"][0]["last"] > first["persons"][0]["last"]
    archive = zipfile.ZipFile(io.BytesIO(client.get(merged["files"]).content))
    assert len(archive.read("summary.csv").splitlines()) == 3
    assert len(zipfile.ZipFile(before).read("summary.csv").splitlines()) == 4, (
        "a merge changes what is being downloaded"
    )
    other = 5 - again
    for data, says in (
        ((first["answer"], [f"1,{other}"]), "at the same time"),
        ((first["answer"], ["1,9"]), "there is no face 9"),
        ((first["answer"], ["1"]), "expected two or more numbers of faces"),
        ((first["answer"], [[1, 2]]), "expected a list of groups of faces"),
        ((first["answer"], None), "expected a list of groups of faces"),
        (("../etc", ["1,2"]), "there is no such answer on the server"),
        (([], []), "there is no such answer on the server"),
    ):
        event, error = call(client, *data, name="merge")
        assert (event, says in str(error)) == ("error", True), error
    assert call(client, first["answer"], [], name="merge")[1][0]["persons"] == first["persons"]


@pytest.mark.parametrize(
    ("full", "says"),
    [
        (
            "peclip.inference.app.answer.KeptClips.add",
            "the server cannot keep an answer about somebody.mp4 (No space left",
        ),
        (
            "peclip.inference.timeline.Timeline.add",
            "the server cannot keep an answer about somebody.mp4 (No space left",
        ),
        ("peclip.files.move", "somebody.srt cannot be written: No space left on device"),
    ],
)
def test_a_full_disk_is_one_line_without_a_path(client, served, video, monkeypatch, full, says):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    name, before = upload(client, video), {*served.folder.iterdir()}
    monkeypatch.setattr(full, fail)
    event, answer = call(client, name)
    assert (event, answer["error"].startswith(says)) == ("error", True), answer
    assert {*served.folder.iterdir()} < before, "half an answer stays on the full disk"
    monkeypatch.setattr("peclip.inference.app.boundary._copy", fail)
    refused = client.post("/gradio_api/upload", files={"files": ("a.mp4", b"x")})
    assert (refused.status_code, refused.text) == (507, "the server cannot keep the file (No space left on device)")


def test_gradios_own_client_may_send_a_file(served, video):
    from gradio_client import Client, handle_file

    answer = Client(served.url, verbose=False).predict(handle_file(str(video)), api_name="/recognize")
    assert answer["file"] == "somebody.mp4"


@pytest.mark.stress
def test_twenty_uploads_at_once_are_all_answered(served, video):
    def answered(_):
        with httpx.Client(base_url=served.url, timeout=300) as client:
            return call(client, upload(client, video))

    with ThreadPoolExecutor(20) as pool:
        answers = [*pool.map(answered, range(20))]
    assert [event for event, _ in answers] == ["complete"] * 20
    assert len({json.dumps(answer[0]["persons"]) for _, answer in answers}) == 1
    assert len({answer[0]["files"] for _, answer in answers}) == 20


def test_a_two_hour_upload_is_refused_before_it_is_read(served):
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=20)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(4_000_000_000))
    connection.endheaders()  # and not one byte of it
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode()) == (
        413,
        f"The file is too large: this page accepts {MOST_MB} MB at most.",
    )


def test_an_upload_that_does_not_say_how_large_it_is_is_refused_when_it_has_become_too_large(client):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    chunks = [head, *[bytes(1 << 20)] * 4]
    answer = client.post(
        "/gradio_api/upload", content=iter(chunks), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert (answer.status_code, "too large" in answer.text) == (413, True)


def test_a_video_that_is_two_hours_long_is_refused(client, tmp_path):
    write_video(tmp_path / "long.mp4", 3, pts=[0, 3600, 7200], fps=1)
    event, answer = call(client, upload(client, tmp_path / "long.mp4"))
    assert event == "error"
    assert "long.mp4 is 2 h" in answer["error"]
    assert "accepts 30 s at most" in answer["error"]


def test_a_video_without_a_stated_length_is_refused_when_it_has_become_too_long(client, tmp_path):
    write_video(tmp_path / "raw.mkv", 40, fps=1, container_options={"live": "1"})
    event, answer = call(client, upload(client, tmp_path / "raw.mkv"))
    assert (event, "raw.mkv is too long" in answer["error"]) == ("error", True)


@pytest.mark.parametrize(
    "given",
    ["nobody/has.mp4", "/etc/passwd", "../../etc/passwd", "http://127.0.0.1:9/a.mp4", "", {"path": "/etc/passwd"}],
)
def test_what_is_no_upload_is_not_opened(client, given):
    event, answer = call(client, given)
    assert event == "error"
    assert answer["error"] in (
        "the video is no longer on the server: upload it again",
        "choose or record a video first",
    )


@pytest.mark.parametrize(
    "path",
    [
        *("/monitoring", "/docs", "/openapi.json", "/gradio_api/proxy=https://huggingface.co", "/gradio_api/deep_link"),
        *("/gradio_api/file=/etc/passwd", "/gradio_api/file=https://huggingface.co", "/gradio_api/file/etc/passwd"),
        *("/gradio_api/run/recognize", "/gradio_api/vibe-code", "/gradio_api/runs", "/static/../../etc/passwd"),
    ],
)
def test_there_are_no_other_addresses(client, path):
    assert client.get(path).status_code in (404, 405)


def test_no_answer_has_a_path_of_the_server(client, served, video, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    _, answer = call(client, upload(client, video))
    archive = zipfile.ZipFile(io.BytesIO(client.get(answer[0]["files"]).content))
    texts = [archive.read(name).decode("latin1") for name in archive.namelist()]
    texts += [json.dumps(answer), json.dumps(call(client, upload(client, tmp_path / "text.mp4")))]
    texts += [upload(client, video, name) for name in ("../../../etc/x.mp4", "C:\\x.mp4", "..", "<b>.mp4")]
    for path in (
        "/",
        "/config",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/theme.css",
        "/gradio_api/file=x",
        "/x",
    ):
        texts.append(client.get(path).text)
    for body in (b"{", b"[]", b'{"data": 1}', b'{"data": [[1]]}', b'{"data": []}', bytes(100_000), b"[" * 50_000):
        texts.append(client.post("/gradio_api/call/recognize", content=body).text)
        texts.append(client.post("/gradio_api/queue/join", content=body).text)
    for text in texts:
        for secret in (served.folder, ROOT, Path.home(), Path(sys.prefix), video.parent, socket.gethostname()):
            assert f"{secret}/" not in text
            assert str(served.folder) not in text
        assert "Traceback" not in text


@pytest.mark.stress
def test_the_command_serves_until_it_is_ended_and_leaves_nothing(checkpoint, tmp_path):
    command = [sys.executable, "-m", "peclip", "serve", "--port", "0", "--model", checkpoint, "--faces", "none"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = process.stdout.readline()
    assert line.startswith("peclip serve: http://127.0.0.1:"), process.stderr.read()
    assert "Which expression does a face show?" in httpx.get(f"{line.split()[2]}/config").text
    assert list(tmp_path.glob("peclip-serve-*"))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
    assert not list(tmp_path.glob("peclip-serve-*"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_mb": 0}, "max_mb is 0: expected a number above 0"),
        ({"max_seconds": float("nan")}, "max_seconds is nan"),
        ({"queue": -1}, "queue is -1"),
        ({"port": 70000}, "port is 70000: expected 0 to 65535"),
        ({"model": "nowhere/at/all"}, "nowhere/at/all"),
    ],
)
def test_a_mistake_is_one_line(options, says):
    with pytest.raises(InputError, match=says):
        serve(**options)


def test_a_server_without_room_for_uploads_is_one_line(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    with (
        pytest.raises(
            InputError, match=r"no folder for uploads can be created \(No space left on device\): set TMPDIR"
        ),
        temporary_folder(),
    ):
        pass


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "peclip\[app\]"'):
        serve()


def test_a_port_that_is_taken_is_one_line(checkpoint):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of host 127.0.0.1: cannot be opened"):
            serve(model=checkpoint, faces="none", port=port)
