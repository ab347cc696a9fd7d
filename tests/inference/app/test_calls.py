"""Calls of the endpoint with something else than it expects: each is told why, in one line."""

import httpx
import pytest

from tests.inference.app.test_server import call, upload
from tests.lacking import needs_gradio
from tests.media import write_video

pytestmark = needs_gradio


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "somebody.mp4"
    write_video(path, 5)
    return path


@pytest.fixture(scope="module")
def client(served):
    with httpx.Client(base_url=served.url, timeout=20) as client:
        yield client


def test_an_answer_is_no_video_and_stays(client, video):
    _, (answer,) = call(client, upload(client, video))
    for name in ("recognized.zip", "pictures"):
        event, error = call(client, f"{answer['answer']}/{name}")
        assert (event, error["error"]) == ("error", "the video is no longer on the server: upload it again")
    assert client.get(answer["files"]).status_code == 200
