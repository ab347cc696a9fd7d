"""The page, in Gradio: upload or record a video, and read what its faces show."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeGuard, TypeVar

import gradio as gr
from gradio.events import api

from peclip.errors import InputError, in_one_line
from peclip.inference.app.answer import ARCHIVE, Recognized, Responder
from peclip.inference.app.boundary import FILE
from peclip.inference.app.callers import Callers
from peclip.inference.app.endpoint import Endpoint, download_of
from peclip.inference.app.examples import EXAMPLES, write_example
from peclip.inference.app.html import empty_of, error_of, escaped, head_of, looks_of, page_of
from peclip.inference.app.looks import LOOKS
from peclip.inference.app.store import Store
from peclip.inference.progress import span

GONE = "the answer is no longer on the server: upload the video again"

_NAME_OF_VIDEO = "(video) => video ? video.path : ''"
"""Script of the page that sends the name of an upload to the server, instead of Gradio's description of a file."""

THEME = gr.themes.Default(
    primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(  # Gradio's own colours of these have a contrast of 2.5 to 1, but a text needs 4.5
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
)  # fonts of the visitor's own system: nothing is loaded from elsewhere

_POLL = 0.05
"""Seconds between two checks of Gradio's queue: by default Gradio checks every millisecond, which takes 6 % of a core, and has no option."""

Written = TypeVar("Written")

_PROGRESS = gr.Progress()  # as the default of an argument it asks Gradio for the bar of the call


class Page:
    """The page of a server, and its endpoint.

    Args:
        responder: answers uploads with the model.
        store: folders of uploads and results.
        callers: visitors and programs that wait for answers.
        waiting: number of videos that may wait for their turn.
        limits: what the page accepts, in words.
    """

    def __init__(self, responder: Responder, store: Store, callers: Callers, waiting: int, limits: str) -> None:
        self._responder, self._store, self._callers, self._limits = responder, store, callers, limits
        self._programs = Endpoint(responder, store)
        self._places = [store.new(is_kept=True) for _ in EXAMPLES]
        for token, example in zip(self._places, EXAMPLES, strict=True):
            write_example(store.place(token) / example.file, example)
        with gr.Blocks(title="peclip", analytics_enabled=False) as self.blocks:
            self._fill()
        self.blocks.queue(max_size=waiting, default_concurrency_limit=1, api_open=False)
        self.blocks._queue.sleep_when_free = self.blocks._queue.progress_update_sleep_when_free = _POLL

    def _fill(self) -> None:
        recognizer = self._responder.recognizer
        gr.HTML(head_of(recognizer.labels, recognizer.caution, recognizer.is_about_faces), padding=False)
        found = gr.State(None)
        name = gr.Textbox(visible=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                video, start = self._ask()
            with gr.Column(scale=3, min_width=300):
                shown = gr.HTML(empty_of(recognizer.is_about_faces), elem_id="pe-shown", padding=False)
                with gr.Group(visible=False) as people:
                    choice = gr.CheckboxGroup(
                        label="Persons", info="Choose persons, then show only these, or merge them into one."
                    )
                    with gr.Row():
                        only, join, again = (
                            gr.Button("Show only these"),
                            gr.Button("Merge into one"),
                            gr.Button("Start over"),
                        )
                with gr.Group(visible=False) as places:
                    person = gr.Radio(label="Where did the model look?", elem_id="pe-person")
                    look = gr.Button("Show heat maps")
                heat = gr.HTML(elem_id="pe-heat", padding=False)
        numbers = gr.State(None)
        private: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "model", "show_progress_on": shown}
        start.click(None, video, name, js=_NAME_OF_VIDEO, api_visibility="private").then(
            self._recognize, [name, found], [shown, found, numbers, people, places, choice, person, heat], **private
        ).then(None, None, video, js="() => null", api_visibility="private")
        for button, choose in ((only, _only), (join, _joined), (again, _all)):
            button.click(
                self._changing(choose), [found, numbers, choice], [shown, numbers, choice, person, heat], **private
            )
        look.click(self._look, [found, numbers, person], heat, **{**private, "show_progress_on": heat})
        api(self._endpoint, api_name="recognize", concurrency_id="model")
        api(self._merge, api_name="merge", concurrency_id="model")

    def _ask(self) -> tuple[gr.Video, gr.Button]:
        """Add the player, the button that starts, and the examples."""
        video = gr.Video(label="Video", sources=["upload", "webcam"], height=300, elem_id="pe-video")
        start = gr.Button("Recognize", variant="primary", size="lg", elem_id="pe-start")
        gr.HTML(
            f'<p class="pe-small">{escaped(self._limits)} The video stays on this server and is deleted as soon as it is '
            "answered; the answer is deleted an hour after its last use.</p>",
            padding=False,
        )
        if self._responder.recognizer.is_about_faces:
            text = '<p class="pe-small"><b>No video to try?</b> These are synthetic faces:</p>'
            gr.HTML(text, padding=False)
            with gr.Row():
                self._add_examples(video)
        return video, start

    def _add_examples(self, video: gr.Video) -> None:
        """Add buttons that put an example into the player, in the browser alone."""
        for token, example in zip(self._places, EXAMPLES, strict=True):
            path = f"{token}/{example.file}"
            file = (
                f"{{path: '{path}', url: new URL('.{FILE}{path}', document.baseURI).href, orig_name: '{example.file}'"
            )
            script = f"() => ({file}, meta: {{_type: 'gradio.FileData'}}}})"
            gr.Button(example.name, size="sm", elem_classes="pe-example").click(
                None, None, video, js=script, api_visibility="private"
            )

    def _recognize(
        self, name: str, before: Recognized | None, request: gr.Request, progress: gr.Progress = _PROGRESS
    ) -> tuple[Any, ...]:
        """Answer the page: what it shows, the faces, their persons, and the choice of them."""
        if before is not None:
            self._store.delete(before.folder.name)
        progress(0, desc="Looking for faces" if self._responder.recognizer.is_about_faces else "Reading")

        def advance(share: float | None, seconds: float) -> None:
            progress(share, desc=f"{span(seconds)} of the video are done")

        nothing = gr.update(visible=False)
        try:
            found, shown = self._answer(name, request, advance, self._shown)
        except InputError as error:
            return error_of(self._words(error)), None, None, nothing, nothing, gr.update(), gr.update(), ""
        numbers = {face: face for face in found.faces}
        people, places = gr.update(visible=len(numbers) > 1), gr.update(visible=bool(numbers))
        return shown, found, numbers, people, places, _choices(numbers), self._persons(found, numbers), ""

    def _shown(self, found: Recognized, numbers: dict[int, int] | None = None) -> str:
        return page_of(self._responder.write(found, numbers), download_of(found))

    def _answer(
        self,
        name: str,
        request: gr.Request,
        advance: Callable[[float | None, float], None],
        write: Callable[[Recognized], Written],
    ) -> tuple[Recognized, Written]:
        """Recognize an upload or an example, write the answer, and delete the upload.

        Raises:
            InputError: there is no such upload, or it cannot be read, or the answer cannot be written, or nobody waits for it.
        """
        if not name:
            raise InputError("choose or record a video first")
        video = self._store.find_video(name)
        if video is None:
            raise InputError("the video is no longer on the server: upload it again")
        token = self._store.new()
        self._store.hold(token)
        try:
            with self._callers.answered(request.session_hash) as check:

                def step(share: float | None, seconds: float) -> None:
                    check()
                    advance(share, seconds)

                found = self._responder.recognize(video, self._store.place(token), step)
                return found, write(found)
        except BaseException:
            self._store.delete(token)
            raise
        finally:
            self._store.release(token)
            self._store.delete(video.parent.name)

    def _changing(self, choose: Callable[[dict[int, int], Sequence[int]], dict[int, int]]) -> Callable[..., Any]:
        """Return a function that shows the answer again for other persons."""

        def changed(found: Recognized | None, numbers: dict[int, int], chosen: list[int]) -> tuple[Any, ...]:
            if not self._has(found):
                return error_of(GONE), None, gr.update(), gr.update(), ""
            try:
                numbers = choose({face: face for face in found.faces} if choose is _all else numbers, chosen)
                shown = self._shown(found, numbers)
            except InputError as error:
                raise gr.Error(self._words(error), print_exception=False) from error
            return shown, numbers, _choices(numbers), self._persons(found, numbers), ""

        return changed

    def _look(
        self,
        found: Recognized | None,
        numbers: dict[int, int],
        person: int | None,
        request: gr.Request,
        progress: gr.Progress = _PROGRESS,
    ) -> str:
        """Return heat maps of some windows of the chosen person."""
        if not self._has(found):
            return error_of(GONE)
        try:
            with self._callers.answered(request.session_hash) as check:

                def step(share: float) -> None:
                    check()
                    progress(share, desc="Looking back")

                looks = self._responder.look(found, numbers, person, step)
        except InputError as error:
            return error_of(self._words(error))
        return looks_of(looks, person or 0, self._responder.recognizer.labels)

    def _has(self, found: Recognized | None) -> TypeGuard[Recognized]:
        """Return whether an answer is still on the server, which then keeps it for another hour."""
        return found is not None and self._store.find(f"{found.folder.name}/{ARCHIVE}") is not None

    def _persons(self, found: Recognized, numbers: dict[int, int]) -> Any:
        """Return the choice of the person whose heat maps are shown, with an estimate of the time that they take."""
        persons = sorted({*numbers.values()})
        cost = span(max(1, round(self._responder.cost_of_look(found))))
        return gr.update(
            choices=[(f"Person {number}", number) for number in persons],
            value=persons[0] if persons else None,
            info=f"Heat maps of up to {LOOKS} windows of one person: about {cost} of computing.",
        )

    def _endpoint(self, video: str, request: gr.Request) -> dict[str, Any]:  # noqa: D417 - programs send no request
        """Recognize the expressions in a video.

        Args:
            video: name of an upload.
        """
        with self._one_line():
            if not isinstance(video, str):  # Gradio passes on any value that a program sends
                raise InputError("video: expected the name of an upload, as a text")
            return self._answer(video, request, lambda *_: None, self._programs.first)[1]

    def _merge(self, answer: str, same: list[str]) -> dict[str, Any]:
        """Answer again with some faces merged into one person.

        Args:
            answer: entry answer of the first answer.
            same: groups of faces by their numbers in the first answer, such as ["1,3"].
        """
        with self._one_line():
            return self._programs.merged(answer, same)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Turn a user's error into the error of a call, in one line."""
        try:
            yield
        except InputError as error:
            raise gr.Error(self._words(error), print_exception=False) from error

    def _words(self, error: InputError) -> str:
        return self._store.without_place(in_one_line(error))


def _choices(numbers: dict[int, int]) -> Any:
    return gr.update(choices=[(f"Person {number}", number) for number in sorted({*numbers.values()})], value=[])


def _all(numbers: dict[int, int], chosen: Sequence[int]) -> dict[int, int]:
    return numbers


def _only(numbers: dict[int, int], chosen: Sequence[int]) -> dict[int, int]:
    """Return the faces of the chosen persons only."""
    if not chosen:
        raise InputError("choose one person or more")
    return {face: person for face, person in numbers.items() if person in chosen}


def _joined(numbers: dict[int, int], chosen: Sequence[int]) -> dict[int, int]:
    """Return the faces with the chosen persons merged into one."""
    if len(chosen) < 2:
        raise InputError("choose two persons or more to merge")
    return {face: min(chosen) if person in chosen else person for face, person in numbers.items()}
