"""Track the callers that wait for answers: when one has left, its computation stops and its upload is deleted.

Gradio drops the calls of a visitor who has left, but the function that it has called for them runs to its end, and the next
visitor would wait for that.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Message, Receive, Scope, Send

from peclip.errors import InputError
from peclip.inference.app.store import Store

_STREAM = re.compile(r"/gradio_api/(queue/data|call/\w+/(?P<event>\w+))")

_MOST_UNREAD = 1000
"""Largest number of streams of messages that are not read yet: the oldest ones are forgotten, as Gradio forgets their messages."""


class Callers:
    """The visitors and programs that wait for answers, by the names that Gradio gives them.

    Args:
        store: folders of uploads.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uploads: dict[str, list[str]] = {}
        self._streams: dict[str, str] = {}  # their callers, by event or session; that of an event may be read once
        self._answered: dict[str, Event] = {}  # set when the caller has left
        self._stopped = False

    @property
    def are_answered(self) -> bool:
        """Return whether an answer is being computed."""
        return bool(self._answered)

    @contextmanager
    def answered(self, caller: str | None) -> Iterator[Callable[[], None]]:
        """Yield a function that raises an InputError as soon as the caller has left, or the server stops."""
        caller, left = caller or "", Event()
        self._answered[caller] = left

        def check() -> None:
            if self._stopped or left.is_set():
                raise InputError("nobody waits for the answer")

        try:
            yield check
        finally:
            self._answered.pop(caller, None)

    def leave(self, caller: str) -> None:
        """Note that a caller has left."""
        if left := self._answered.get(caller):
            left.set()
        for token in self._uploads.pop(caller, ()):
            self._store.delete(token)

    def stop(self) -> None:
        """Stop all computations at their next check: the server ends."""
        self._stopped = True

    def calling(self, body: Any, send: Send) -> Send:
        """Return the function that sends the answer to a call; its stream may be read from then on.

        The uploads for which the caller waits are kept until the stream ends.

        Args:
            body: body of the call, parsed from JSON.
            send: function of the server that sends a message of ASGI.
        """
        fields = body if isinstance(body, dict) else {}
        data = fields.get("data")
        names = [text for text in data if isinstance(text, str)] if isinstance(data, list) else []
        tokens = [token for name in names if (token := self._store.upload_of(name))]

        async def sent(message: Message) -> None:
            with suppress(KeyError, TypeError, ValueError):  # a call that is refused has no event
                event = json.loads(message["body"])["event_id"]
                self._wait(event, fields.get("session_hash") or event, tokens)
            await send(message)

        return sent

    def _wait(self, event: str, caller: str, tokens: list[str]) -> None:
        """Note that a caller waits for an event, and which uploads belong to it."""
        self._streams = {name: of for name, of in self._streams.items() if name != caller}
        self._streams |= {event: caller, caller: caller}
        for oldest in [*self._streams][:-_MOST_UNREAD]:
            del self._streams[oldest]
        self._uploads = {name: of for name, of in self._uploads.items() if any(map(self._store.has, of))}
        self._uploads.setdefault(caller, []).extend(tokens)
        for token in tokens:
            self._store.hold(token)

    def listening(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """Return functions that receive and send a stream of messages, and notice if its reader leaves before it ends.

        Raises:
            InputError: there is no such stream, or that of an event was read already.
        """
        stream = _STREAM.fullmatch(scope["path"])
        if scope["method"] != "GET" or stream is None:
            return receive, send
        session = parse_qs(scope["query_string"].decode("latin1")).get("session_hash", [""])[0]
        event = stream["event"]
        caller = self._streams.get(session) if event is None else self._streams.pop(event, None)
        if caller is None:  # Gradio would send heartbeats for ever, or end with a traceback
            raise InputError("not found: there is no such call, or its answer was read already")
        ended = False

        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not ended:
                self.leave(caller)
            return message

        async def sent(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                ended = True
                for token in self._uploads.pop(caller, ()):  # of a call that has not deleted them, such as a merge
                    self._store.release(token)
            if not self._stopped:  # Gradio would say what it was doing, with paths of this machine
                await send(message)

        return received, sent
