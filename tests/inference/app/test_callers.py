"""Visitors and programs that leave before they are answered, and a server that ends meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from glob import glob
from itertools import count
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import httpx
import pytest

import peclip
from peclip.errors import InputError
from peclip.inference.app import store as stores
from peclip.inference.app.answer import Responder
from peclip.inference.app.boundary import Boundary
from peclip.inference.app.store import Store
from peclip.inference.recognizer import Row
from tests.lacking import needs_gradio
from tests.media import write_video

pytestmark = needs_gradio

ROOT = Path(peclip.__file__).parents[1]


@pytest.fixture
def endless(served, monkeypatch):
    """Let each video be computed until the test is over, and say whether one is."""
    begun, ended, is_over = Event(), Event(), Event()

    def rows(frames, file, *, with_clips):
        begun.set()
        try:
            for second in count():
                yield Row(file, None, second, second + 1)
                if is_over.wait(0.01):
                    return
        finally:
            ended.set()

    monkeypatch.setattr(served.recognizer, "rows", rows)
    yield begun, ended
    is_over.set()  # a test that fails leaves the server to the next one


def upload(client, video, name):
    with video.open("rb") as file:
        return client.post("/gradio_api/upload", files={"files": (name, file)}).json()[0]


def call(client, upload, session):
    """Ask for the answer as a program does, or as the page with a session does; return the address of its stream."""
    if session is None:
        event = client.post("/gradio_api/call/recognize", json={"data": [upload]}).json()["event_id"]
        return f"/gradio_api/call/recognize/{event}"
    functions = client.get("/config").json()["dependencies"]
    number = next(each["id"] for each in functions if each["api_name"].startswith("_recognize"))
    body = {"data": [upload, None], "fn_index": number, "session_hash": session}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    return f"/gradio_api/queue/data?session_hash={session}"


def leave(client, stream):
    """Open a stream of messages, as one who closes the page then."""
    with client.stream("GET", stream) as messages:
        assert messages.status_code == 200


def uploads(served):
    """Return the names of what is there; Path.glob would fail where a folder is deleted meanwhile."""
    return {Path(name).name for name in glob("*/of_*.mp4", root_dir=served.folder)}


def delete_all(served, monkeypatch):
    """Delete what is not in use, as after an hour."""
    with monkeypatch.context() as later:
        later.setattr(stores, "KEPT", -1.0)
        served.sweep()


def wait(until):
    end = time.monotonic() + 20
    while not until():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("session", [None, "page"])
def test_nothing_is_computed_for_somebody_who_has_left(client, served, video, endless, session, monkeypatch):
    """An upload that waits or is computed does not expire meanwhile."""
    begun, ended = endless
    delete_all(served, monkeypatch)
    stream = call(client, upload(client, video, "of_first.mp4"), session)
    assert begun.wait(20)
    waiting = call(client, upload(client, video, "of_second.mp4"), session and "other")
    before = {*os.listdir(served.folder)}
    delete_all(served, monkeypatch)
    assert {*os.listdir(served.folder)} == before
    leave(client, waiting)  # while it waits
    wait(lambda: uploads(served) == {"of_first.mp4"})
    assert not ended.is_set()
    begun.clear()
    leave(client, stream)  # while it is computed
    assert ended.wait(20)
    wait(lambda: not uploads(served))
    assert not begun.wait(0.1), "a video is computed for one who has left"


def test_a_call_that_is_cancelled_ends(client, served, video, endless):
    """As Gradio's client cancels it; other callers stay."""
    begun, ended = endless
    call(client, upload(client, video, "of_first.mp4"), "cancels")
    assert begun.wait(20)
    for session, is_over in (("nobody", False), ("cancels", True)):
        client.post("/gradio_api/cancel", json={"session_hash": session, "fn_index": 0, "event_id": "x"})
        assert ended.wait(0.1 if not is_over else 20) == is_over
    wait(lambda: not uploads(served))


def test_an_answer_is_computed_until_its_files_are_written(client, served, video, monkeypatch):
    """The process waits for what is not, and its folder is gone then."""
    seen = []
    monkeypatch.setattr(Responder, "write", lambda *_: seen.append(served.callers.are_answered) or fail())
    with client.stream("GET", call(client, upload(client, video, "of_first.mp4"), None)) as messages:
        assert "event: error" in messages.read().decode()
    assert (seen, served.callers.are_answered) == ([True], False)


def fail():
    raise InputError("not written")


def test_a_server_that_nobody_uses_hardly_looks_at_its_queue(served, monkeypatch):
    looks, sleep = [], asyncio.sleep

    def counted(seconds, *result):
        looks.append(seconds)
        return sleep(seconds, *result)

    monkeypatch.setattr("gradio.queueing.asyncio.sleep", counted)
    wait(lambda: looks.count(0.05) >= 5)  # by two tasks
    assert 0.001 not in looks, "as Gradio looks by itself"


def test_what_is_too_old_is_deleted_although_nobody_comes(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(stores, "time", SimpleNamespace(monotonic=lambda: clock.now))
    store = Store(tmp_path, most=2)
    old, waits, kept = store.new(is_upload=True), store.new(is_upload=True), store.new(is_kept=True)
    store.release(old)
    store.hold(waits)

    async def app(scope, receive, send):
        await asyncio.sleep(0.01)

    for clock.now, left in ((stores.KEPT + 1, {waits, kept}), (stores.HELD + stores.KEPT + 1, {kept})):
        asyncio.run(Boundary(app, store, None, 1)({"type": "lifespan"}, None, None))
        assert {path.name for path in tmp_path.iterdir()} == left
    assert not store.has(old)


@pytest.mark.stress
def test_the_server_ends_at_once_while_a_video_is_computed(checkpoint, tmp_path):
    """Sixty thousand windows, which take minutes; the folder of PyTorch's compiler is not ours."""
    write_video(tmp_path / "minute.mp4", 300, fps=5)
    command = [sys.executable, "-m", "peclip", "serve", "--port", "0", "--model", checkpoint, "--faces", "none"]
    place = tmp_path / "temporary"
    place.mkdir()
    environment = os.environ | {"TMPDIR": str(place), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--stride", "0.001"], **options) as process:
        try:
            line = process.stdout.readline()
            with httpx.Client(base_url=line.split()[2], timeout=20) as client:
                stream = call(client, upload(client, tmp_path / "minute.mp4", "a.mp4"), None)
                leave(client, "/gradio_api/heartbeat/page")  # pages keep a request open
                with client.stream("GET", stream) as messages:
                    process.send_signal(signal.SIGINT)
                    with pytest.raises(httpx.RemoteProtocolError):  # it says nothing, and no path of its own
                        messages.read()
                out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, errors) == (0, "", "")
    assert not [path.name for path in place.iterdir() if not path.name.startswith("torchinductor")]
