"""Uploads: where too many wait, nothing of another one is read, and what is not stored takes no place."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peclip.errors import InputError
from tests.lacking import needs_gradio

pytestmark = needs_gradio

BOUNDARY = b"x"
HEAD = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'


class Visitor:
    """Sends chunks of a form to a server, and keeps what it answers."""

    def __init__(self, chunks: list[bytes], leaves: bool = False) -> None:
        self.chunks, self.leaves, self.read = chunks, leaves, 0
        self.status, self.text = 0, b""

    async def receive(self) -> dict[str, Any]:
        if self.read == len(self.chunks):
            return {"type": "http.disconnect"}
        self.read += 1
        more = self.leaves or self.read < len(self.chunks)
        return {"type": "http.request", "body": self.chunks[self.read - 1], "more_body": more}

    async def send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"")

    def uploads_to(self, boundary: Any) -> "Visitor":
        headers = [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)]
        scope = {
            "type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": headers, "query_string": b"",
        }  # fmt: skip
        asyncio.run(boundary(scope, self.receive, self.send))
        return self


@pytest.fixture
def boundary(tmp_path: Path) -> Any:
    from peclip.inference.app.boundary import Boundary
    from peclip.inference.app.callers import Callers
    from peclip.inference.app.store import Store

    store = Store(tmp_path, most=1)
    return Boundary(None, store, Callers(store), 1)


def form(size: int) -> list[bytes]:
    return [HEAD, *[b"0" * 1000] * (size // 1000), b"\r\n--x--\r\n"]


def test_where_too_many_wait_nothing_of_another_one_is_read(boundary: Any, tmp_path: Path):
    assert Visitor(form(3000)).uploads_to(boundary).status == 200
    late = Visitor(form(3000)).uploads_to(boundary)
    assert (late.status, late.text, late.read) == (503, b"too many uploads are waiting: try again in a minute", 0)
    assert [path.read_bytes() for path in tmp_path.glob("*/*")] == [b"0" * 3000]


@pytest.mark.parametrize(
    ("chunks", "status"),
    [(form(2_000_000), 413), ([b"no form"], 400), (form(3000)[:-2], 400), ([b"--x--\r\n"], 400)],
)
def test_what_is_not_stored_takes_no_place(boundary: Any, tmp_path: Path, chunks: list[bytes], status: int):
    for _ in range(3):
        assert Visitor(chunks, leaves=status == 400).uploads_to(boundary).status in (status, 0)
        assert not [*tmp_path.iterdir()]
    assert Visitor(form(3000)).uploads_to(boundary).status == 200


class Silent(Visitor):
    """Begins a form, and sends nothing more."""

    async def receive(self) -> dict[str, Any]:
        if self.read:
            await asyncio.sleep(60)
        return await super().receive()


def test_a_visitor_who_sends_nothing_for_long_gives_the_place_back(
    boundary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("peclip.inference.app.boundary.SILENT", 0.05)
    silent = Silent(form(3000)).uploads_to(boundary)
    assert (silent.status, silent.text) == (408, b"nothing came for 0.05 s: send the file again")
    assert Visitor(form(3000)).uploads_to(boundary).status == 200


def test_where_too_many_wait_an_upload_that_nobody_asks_for_gives_its_place_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Neither one that waits for its turn nor one that is still sent does."""
    from peclip.inference.app import store as stores

    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(stores, "time", SimpleNamespace(monotonic=lambda: clock.now))
    store = stores.Store(tmp_path, most=4)
    waits, first, second, sent = (store.new(is_upload=True) for _ in range(4))
    for clock.now, token in enumerate((waits, first, second)):
        store.release(token)
    store.hold(waits)
    clock.now = 60.0
    with pytest.raises(InputError, match="too many uploads are waiting: try again in a minute"):
        store.new(is_upload=True)
    for clock.now, gone in ((61.0, first), (62.0, second)):
        store.new(is_upload=True)
        assert not store.has(gone)
    clock.now = stores.KEPT * 2
    with pytest.raises(InputError, match="too many uploads"):
        store.new(is_upload=True)
    assert store.has(waits)
    assert store.has(sent)
