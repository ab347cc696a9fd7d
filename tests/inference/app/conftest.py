"""A server of the page in a thread, with a small model."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from peclip.inference.recognizer import Recognizer
from tests.lacking import YUNET
from tests.media import write_video

MOST_MB, MOST_SECONDS = 2, 30


@pytest.fixture(scope="session")
def served(tmp_path_factory, net):
    """A server that answers with a tiny model: its address and its folder."""
    import uvicorn

    from peclip.inference.app.server import build, listening
    from peclip.inference.settings import Settings

    folder = tmp_path_factory.mktemp("served")
    recognizer = Recognizer(net, "yunet" if YUNET else "none", None if YUNET is None else str(YUNET))
    with pytest.MonkeyPatch.context() as patch, listening("127.0.0.1", 0) as port:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "gradio"))
        app, callers = build(
            recognizer, Settings.of(recognizer, "tiny", "yunet"), folder, MOST_MB, MOST_SECONDS, queue=32
        )
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([port])))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        url = f"http://127.0.0.1:{port.getsockname()[1]}"
        yield SimpleNamespace(url=url, folder=folder, recognizer=recognizer, callers=callers, sweep=app._store.sweep)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server does not end"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of five frames."""
    path = tmp_path_factory.mktemp("video") / "somebody.mp4"
    write_video(path, 5)
    return path


@pytest.fixture(scope="module")
def client(served):
    """A client of the server."""
    import httpx

    with httpx.Client(base_url=served.url, timeout=20) as client:
        yield client
