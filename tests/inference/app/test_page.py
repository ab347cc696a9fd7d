"""The page in a real browser: upload, read the answer, choose and merge persons, and see what is wrong."""

import pytest

from peclip.inference.app.looks import FRAMES, LOOKS
from tests.inference.app.browser import CHROMIUM, browser
from tests.lacking import needs, needs_gradio, needs_yunet
from tests.media import write_video
from tests.scenes import FPS, Visit, film

pytestmark = [pytest.mark.slow, needs_gradio, pytest.mark.skipif(CHROMIUM is None, reason=needs("Chromium"))]

ANSWERED = "document.querySelector('.pe-timeline img')?.complete"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two people beside each other, and one of them again under another number after a time out of sight."""
    path = tmp_path_factory.mktemp("video") / "two people.mp4"
    visits = [
        Visit(1, 20, 60, range(FPS)),
        Visit(1, 20, 60, range(5 * FPS, 6 * FPS)),
        Visit(4, 190, 60, range(6 * FPS)),
    ]
    write_video(path, 6 * FPS, frames=film(visits, 6 * FPS), codec_options={"crf": "26"})
    return path


def start(page, url, path, width=1280, dark=False):
    page.open(url, width, dark=dark)
    page.wait("document.querySelector('#pe-start') && document.querySelector('input[type=file]')")
    page.choose("input[type=file]", path)
    page.wait("document.querySelector('#pe-video video')?.src")
    page.run("document.querySelector('#pe-start').click()")


def click(page, text):
    """Press a button as soon as it is there."""
    button = f"[...document.querySelectorAll('button')].find((button) => button.innerText.trim() == '{text}')"
    page.wait(button)
    page.run(f"{button}.click()")


def choose(page, places, of):
    """Tick some of so many persons as soon as all of them, and no others, may be chosen."""
    boxes = "[...document.querySelectorAll('input[type=checkbox]')]"
    page.wait(f"{boxes}.length == {of} && {boxes}.every((box) => !box.checked)")
    page.run(f"{places}.map((place) => {boxes}[place].click())")
    page.wait(f"{boxes}.filter((box) => box.checked).length == {len(places)}")


def labels(page):
    return page.run("[...document.querySelectorAll('.pe-label')].map((label) => label.innerText)")


def overlaps(page):
    """The visible texts and pictures of the page that lie on top of each other, in pairs."""
    return page.run(
        """(() => {
        const seen = [...document.querySelectorAll('h1,h2,h3,h4,p,li>*,header img,.pe-download,button')].filter((element) =>
            element.offsetParent && element.innerText?.trim() && !element.closest('#pe-video,.wrap'));
        const pairs = [];
        for (const a of seen) for (const b of seen) if (a !== b && !a.contains(b) && !b.contains(a)) {
            const [r, s] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
            const width = Math.min(r.right, s.right) - Math.max(r.left, s.left);
            const height = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
            if (width > 1 && height > 1) pairs.push([a.innerText, b.innerText]);
        }
        return pairs;
        })()"""
    )


@needs_yunet
def test_a_video_is_uploaded_and_answered_and_persons_are_merged(page, served, video, net, tmp_path):
    start(page, served.url, video, width=390, dark=True)
    page.wait(ANSWERED)
    assert len(labels(page)) == 3
    assert set(labels(page)) <= set(net.labels)
    assert page.run("document.querySelector('.pe-timeline img').naturalWidth") > 1000
    assert page.run("document.querySelectorAll('.pe-film img').length") >= 6
    assert page.run("document.documentElement.scrollWidth") == 390
    assert overlaps(page) == []
    # the video is no longer there, the answer is
    assert not page.run("document.querySelector('#pe-video video')?.src")
    assert page.run("fetch(document.querySelector('.pe-download').href).then((answer) => answer.ok)")
    # the first and the third face are one person
    choose(page, [0, 2], of=3)
    click(page, "Merge into one")
    page.wait("document.querySelectorAll('.pe-label').length == 2")
    choose(page, [1], of=2)
    click(page, "Show only these")
    page.wait("document.querySelectorAll('.pe-label').length == 1")
    click(page, "Start over")
    page.wait("document.querySelectorAll('.pe-label').length == 3")
    # where the model looked, in the windows of the first person
    click(page, "Show heat maps")
    page.wait("document.querySelectorAll('.pe-heat img').length")
    heat = page.run("[...document.querySelectorAll('.pe-heat')].map((strip) => strip.querySelectorAll('img').length)")
    assert 1 <= len(heat) <= LOOKS
    assert {*heat} == {min(FRAMES, net.clip_format.num_frames)}
    assert "of computing" in page.run("document.querySelector('#pe-person').innerText")
    assert page.run("document.documentElement.scrollWidth") == 390
    assert overlaps(page) == []
    choose(page, [0, 1], of=3)
    click(page, "Merge into one")
    page.wait("document.body.innerText.includes('at the same time')")
    assert len(labels(page)) == 3
    foreign = [request for request in page.requests if not request.startswith((served.url, "data:", "blob:", "about:"))]
    assert foreign == []


@needs_yunet
def test_a_video_without_a_face_is_said_to_have_none(page, served, tmp_path):
    path = tmp_path / "nobody.mp4"
    write_video(path, 20, frames=film([], 20))
    start(page, served.url, path)
    page.wait(ANSWERED)
    assert "No face was found in this video." in page.run("document.querySelector('.pe-answer').innerText")
    assert labels(page) == []
    assert not page.run("[...document.querySelectorAll('button')].some((each) => each.innerText == 'Show heat maps')")


def test_a_text_named_mp4_gets_a_readable_message(page, served, tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("this is not a video\n" * 100)
    start(page, served.url, path)
    page.wait("document.querySelector('.pe-error')")
    assert "text.mp4" in page.run("document.querySelector('.pe-error').innerText")
    assert str(tmp_path) not in page.run("document.body.innerHTML")
    assert overlaps(page) == []


def test_an_upload_that_is_too_large_is_refused_in_the_page(page, served, tmp_path):
    path = tmp_path / "long.mp4"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)
    page.open(served.url)
    page.wait("document.querySelector('#pe-start') && document.querySelector('input[type=file]')")
    page.choose("input[type=file]", path)
    page.wait("/too large|exceeds|maximum/i.test(document.body.innerText)")


@needs_yunet
def test_an_example_is_answered(page, served):
    page.open(served.url)
    page.wait("document.querySelector('.pe-example')")
    page.run("document.querySelector('.pe-example').click()")
    page.wait("document.querySelector('#pe-video video')?.src")
    page.run("document.querySelector('#pe-start').click()")
    page.wait(ANSWERED)
    assert len(labels(page)) == 1
