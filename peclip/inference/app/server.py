"""Serve the page: one process, one model, one temporary folder that is deleted with it."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
import uvicorn
from fastapi import FastAPI

from peclip.errors import InputError
from peclip.inference.app.answer import Responder
from peclip.inference.app.boundary import Boundary
from peclip.inference.app.callers import Callers
from peclip.inference.app.html import STYLE
from peclip.inference.app.page import THEME, Page
from peclip.inference.app.store import Store
from peclip.inference.progress import span
from peclip.inference.recognizer import Recognizer
from peclip.inference.settings import Settings
from peclip.terminal import say

_OPEN = 1  # seconds in which requests may end when the server stops; every open page keeps a request


class _Server(uvicorn.Server):
    """A server that ends on signals without raising them again: the folder is deleted, and the status is 0.

    Args:
        config: configuration of uvicorn.
        callers: visitors and programs, which get no answer any more when it ends.
    """

    def __init__(self, config: uvicorn.Config, callers: Callers) -> None:
        super().__init__(config)
        self._callers = callers

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # requests of open pages that are cut off
            self._callers.stop()
            self.handle_exit(number, frame)

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the port.

    Raises:
        InputError: the host is not of this machine, or the port is taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"port {port} of host {host}: cannot be opened ({reason}): choose others", "port") from error
    return found


def build(
    recognizer: Recognizer, settings: Settings, folder: Path, megabytes: float, seconds: float, queue: int
) -> tuple[Boundary, Callers]:
    """Return the application, and the callers that wait for its answers.

    Args:
        recognizer: the model.
        settings: how videos are recognized.
        folder: temporary folder of uploads and results.
        megabytes: largest size of an upload, in MB.
        seconds: longest duration of a video, in seconds.
        queue: number of videos that may wait.
    """
    store = Store(folder, most=2 * queue)
    callers = Callers(store)
    limits = f"At most {megabytes:g} MB and {span(seconds)}."
    blocks = Page(Responder(recognizer, settings, seconds), store, callers, queue, limits).blocks
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app = gr.mount_gradio_app(
        *(outer, blocks, "/"),
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=int(megabytes * 1e6),
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=THEME,
        css=STYLE,
    )
    return Boundary(app, store, callers, megabytes), callers


def serve_page(
    recognizer: Recognizer,
    settings: Settings,
    folder: Path,
    host: str,
    port: int,
    megabytes: float,
    seconds: float,
    queue: int,
) -> bool:
    """Serve the page until the process is interrupted or terminated; return whether a thread still computes an answer.

    Args:
        recognizer: the model.
        settings: how videos are recognized.
        folder: temporary folder of uploads and results.
        host: address to listen on.
        port: port to listen on, from 0 to 65535; 0 chooses a free one.
        megabytes: largest size of an upload, in MB.
        seconds: longest duration of a video, in seconds.
        queue: number of videos that may wait.

    Raises:
        InputError: the port cannot be opened.
    """
    with listening(host, port) as open_port:
        app, callers = build(recognizer, settings, folder, megabytes, seconds, queue)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_OPEN
        )
        name = f"[{host}]" if ":" in host else host
        say(f"peclip serve: http://{name}:{open_port.getsockname()[1]} (end it with Ctrl-C)")
        _Server(config, callers).run([open_port])
    return callers.are_answered
