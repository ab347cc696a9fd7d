"""Guard the server: few addresses, limited sizes, and no paths of this machine.

Gradio names files by their paths on the server. Here nothing that a visitor sends is ever read as a path: uploads and results
have random names (:class:`peclip.inference.app.store.Store`), and Gradio is given these names as plain texts.
"""

import asyncio
import json
import mimetypes
import re
import shutil
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anyio import to_thread
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from peclip.errors import InputError
from peclip.inference.app.callers import Callers
from peclip.inference.app.store import Store, clean_name

API = "/gradio_api"
UPLOAD, PROGRESS, FILE, CANCEL = f"{API}/upload", f"{API}/upload_progress", f"{API}/file=", f"{API}/cancel"

LARGEST_CALL = 1 << 16
"""Largest size of a call in bytes; it holds names and choices, and never a video."""

_OPEN = re.compile(
    r"/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt|(assets|static|svelte)/.+"
    r"|gradio_api/(info|openapi\.json|startup-events|app_id|heartbeat/\w+|queue/(join|data)|cancel|reset|call/(recognize|merge)(/\w+)?))?/?"
)
"""Addresses of Gradio that the page and the endpoint need; there are no others."""

_DATA: dict[str, list[Any]] = {"recognize": ["NAME"], "merge": ["ANSWER", ["1,3"]]}
"""Examples of the data of the endpoint's calls: for another number of entries, Gradio's own error has no message."""

_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; form-action 'self'",
    ),
    (b"referrer-policy", b"no-referrer"),
)
"""Headers that forbid the browser to load anything from elsewhere, or to name this page to others."""

SILENT = 60.0
"""Seconds after which an upload is dropped if nothing of it arrives: others wait for its place."""

_FORM = 1 << 14  # bytes of a form besides the file in it


class _TooLarge(Exception):
    pass


class Boundary:
    """The outer layer of the server, around the application of Gradio.

    Args:
        app: application of Gradio.
        store: folders of uploads and results.
        callers: visitors and programs that wait for answers.
        megabytes: largest size of an upload, in MB.
    """

    def __init__(self, app: ASGIApp, store: Store, callers: Callers, megabytes: float) -> None:
        self._app, self._store, self._callers, self._megabytes = app, store, callers, megabytes
        self._most = int(megabytes * 1e6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            sweeping = asyncio.create_task(self._store.keep_swept())
            try:
                await self._app(scope, receive, send)
            finally:
                sweeping.cancel()
            return
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        answer: Response | None = None
        if path == UPLOAD and method == "POST":
            answer = await self._upload(Request(scope, self._counted(receive)))
        elif path == PROGRESS:
            answer = Response(status_code=204)  # the browser counts what it has sent itself
        elif path.startswith(FILE):
            answer = await self._file(path.removeprefix(FILE))
        elif not _OPEN.fullmatch(path):
            answer = PlainTextResponse("not found", 404)
        elif method == "POST":
            try:
                scope, receive, body = await _call(Request(scope, receive))
                send = self._called(path, body, send)
            except InputError as error:
                answer = PlainTextResponse(str(error), 400)
            except _TooLarge:
                answer = PlainTextResponse(f"a call has {LARGEST_CALL} bytes at most", 413)
            except (ValueError, RecursionError, ClientDisconnect):
                answer = PlainTextResponse("a call is an object in JSON", 400)
        try:
            receive, send = self._callers.listening(scope, receive, send)
        except InputError as error:
            answer = PlainTextResponse(str(error), 404)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _called(self, path: str, body: Any, send: Send) -> Send:
        """Register a call with the callers, and return the function that sends its answer.

        Raises:
            InputError: its data has too few entries or too many.
        """
        if path.rstrip("/") == CANCEL:
            if isinstance(body, dict):
                self._callers.leave(str(body.get("session_hash")))
            return send
        _check_entries(path, body)
        return self._callers.calling(body, send)

    async def _upload(self, request: Request) -> Response:
        """Store the file of a form, and return its name as Gradio's clients expect it."""
        too_large = PlainTextResponse(f"The file is too large: this page accepts {self._megabytes:g} MB at most.", 413)
        token = None
        try:
            if int(request.headers.get("content-length", 0)) > self._most + _FORM:
                return too_large  # before any of it is read
            token = self._store.new(is_upload=True)  # if too many wait, nothing is read either
            async with request.form(max_files=1, max_fields=1) as form:
                file = form.get("files")
                if not isinstance(file, UploadFile):
                    return PlainTextResponse("expected a form with one file named files", 400)
                if (file.size or 0) > self._most:
                    return too_large
                name = clean_name(file.filename or "")
                await to_thread.run_sync(_copy, file, self._store.place(token) / name)
            self._store.release(token)
            kept, token = token, None
            return JSONResponse([f"{kept}/{name}"])
        except _TooLarge:
            return too_large
        except TimeoutError:
            return PlainTextResponse(f"nothing came for {SILENT:g} s: send the file again", 408)
        except (HTTPException, MultiPartException, ValueError, ClientDisconnect) as error:
            busy = isinstance(error, InputError)
            return PlainTextResponse(str(error) if busy else "expected a form with one file", 503 if busy else 400)
        except OSError as error:
            return PlainTextResponse(f"the server cannot keep the file ({error.strerror or error})", 507)
        finally:
            if token is not None:
                self._store.delete(token)

    def _counted(self, receive: Receive) -> Receive:
        """Return a function that receives an upload, and raises an error if it is too large or stalls."""
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await asyncio.wait_for(receive(), SILENT)
            read += len(message.get("body", b""))
            if read > self._most + _FORM:
                raise _TooLarge
            return message

        return counted

    async def _file(self, name: str) -> Response:
        """Return a file: a video in ranges, as players ask for it, and the files of an answer as they are at this moment.

        A merge may replace these while they are sent.
        """
        gone = PlainTextResponse("not found: it was deleted after use", 404)
        path = self._store.find(name)
        if path is None:
            return gone
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        kind = mimetypes.guess_type(path.name)[0] or ""
        if kind.startswith("video/"):
            return FileResponse(
                path, media_type=kind, filename=path.name, content_disposition_type="inline", headers=headers
            )
        try:
            content = await to_thread.run_sync(path.read_bytes)
        except FileNotFoundError:
            return gone
        headers["Content-Disposition"] = f"attachment; filename*=utf-8''{quote(path.name)}"
        return Response(content, media_type="application/octet-stream", headers=headers)


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return sent


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target, 1 << 20)


async def _call(request: Request) -> tuple[Scope, Receive, Any]:
    """Return a call in which each file is the name of an upload, as a plain text: Gradio opens and fetches none.

    The last is its body, from JSON.
    """
    body, call = b"", None
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_CALL:
            raise _TooLarge
    if body:
        call = _without_files(json.loads(body))
        body = json.dumps(call).encode()
    headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-length"]
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else await request.receive()

    return {**request.scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}, receive, call


def _check_entries(path: str, body: Any) -> None:
    name = path.rstrip("/").removeprefix(f"{API}/call/")
    if (expected := _DATA.get(name)) is None:
        return
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list):
        found = "no list"
    elif len(data) != len(expected):
        found = f"a list of length {len(data)}"
    else:
        return
    raise InputError(
        f"{name}: data is {found}: expected a list of length {len(expected)}, such as {json.dumps(expected)}"
    )


def _without_files(value: Any) -> Any:
    if isinstance(value, list):
        return [*map(_without_files, value)]
    if isinstance(value, MutableMapping):
        if isinstance(value.get("path"), str):
            return value["path"]
        return {key: _without_files(item) for key, item in value.items()}
    return value
