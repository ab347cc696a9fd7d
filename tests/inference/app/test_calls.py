"""Calls of the endpoint with wrong data: the error says why, in one line."""

import pytest

from tests.inference.app.test_callers import delete_all
from tests.inference.app.test_server import call, upload
from tests.lacking import needs_gradio

pytestmark = needs_gradio

RECOGNIZE = "/gradio_api/call/recognize"


def test_an_answer_is_no_video_and_stays(client, video):
    _, (answer,) = call(client, upload(client, video))
    for name in ("recognized.zip", "pictures"):
        event, error = call(client, f"{answer['answer']}/{name}")
        assert (event, error["error"]) == ("error", "the video is no longer on the server: upload it again")
    assert client.get(answer["files"]).status_code == 200


@pytest.mark.parametrize("given", [5, ["x"], {"url": "http://127.0.0.1:9/a.mp4"}, {}, None])
def test_a_video_that_is_no_name_is_one_line(client, given):
    event, error = call(client, given)
    assert (event, error["error"]) == ("error", "video: expected the name of an upload, as a text")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("recognize", [], 'recognize: data is a list of length 0: expected a list of length 1, such as ["NAME"]'),
        (
            "recognize",
            ["a", "b"],
            'recognize: data is a list of length 2: expected a list of length 1, such as ["NAME"]',
        ),
        ("merge", ["a"], 'merge: data is a list of length 1: expected a list of length 2, such as ["ANSWER", ["1,3"]]'),
        ("merge", "ab", 'merge: data is no list: expected a list of length 2, such as ["ANSWER", ["1,3"]]'),
    ],
)
def test_a_call_with_too_few_or_too_many_entries_is_refused(client, name, data, says):
    answer = client.post(f"/gradio_api/call/{name}", json={"data": data})
    assert (answer.status_code, answer.text) == (400, says)


def test_an_answer_is_read_once(client):
    """Gradio sends heartbeats for ever to who reads it again, and a traceback to the log for what it does not know."""
    event = client.post(RECOGNIZE, json={"data": ["a"]}).json()["event_id"]
    assert "event: error" in client.get(f"{RECOGNIZE}/{event}/", follow_redirects=True).text
    for path in (f"{RECOGNIZE}/unknown", "/gradio_api/queue/data?session_hash=unknown", f"{RECOGNIZE}/{event}"):
        with client.stream("GET", path) as answer:
            assert answer.status_code == 404, path
            assert answer.read() == b"not found: there is no such call, or its answer was read already"


def test_an_upload_is_not_held_any_more_when_the_call_that_named_it_has_ended(client, served, video, monkeypatch):
    """As of one that was given to merge."""
    name = upload(client, video)
    assert call(client, name, ["1,2"], name="merge")[0] == "error"
    delete_all(served, monkeypatch)
    assert not (served.folder / name).exists()
