"""An HTTP answer while it comes in, piece by piece, as `httptools` (llhttp, the parser of Node.js) reads it.

What two readers could take for two things is no answer, nor is what is no HTTP/1; Kannel's answers are plain.
"""

from __future__ import annotations

import httptools

from smsd.adapters.gateways.httpexchange import (
    LARGEST_ANSWER,
    LARGEST_BODY,
    Answer,
    NoAnswerError,
    seconds_of,
)


class Reply:
    """One answer."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._room = LARGEST_ANSWER
        self._body: list[bytes] = []
        self._size = 0
        self._announced = 0
        self._begun = False
        self._headed = False
        self._measured = False
        self._retry_after: float | None = None
        self._waits = False
        self._status = 0
        self.complete = False
        self.may_follow = False
        """Whether the connection may be used for another exchange."""

    def feed(self, data: bytes) -> NoAnswerError | None:
        """Take a piece; the error if it cannot be part of an answer."""
        self._begun = True
        self._room -= len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            # what follows a whole answer belongs to nothing that was asked
            self.may_follow = False
            return None if self.complete else NoAnswerError("unrecognised_answer", "the answer is not HTTP")
        if self._room < 0 or max(self._size, self._announced) > LARGEST_BODY:
            return NoAnswerError("unrecognised_answer", "the answer is too large")
        return None

    @property
    def ends_with_connection(self) -> bool:
        """Whether its head says no length, so that the connection's end is its end."""
        return self._headed and not self._measured

    def cut_off(self) -> NoAnswerError:
        """What it means that the connection has been closed now."""
        if not self._begun:
            return NoAnswerError("connection_lost", "the connection was closed without an answer")
        if not self._headed:
            return NoAnswerError("unrecognised_answer", "the answer is not HTTP")
        return NoAnswerError("answer_cut_off", "the connection was closed in the middle of the answer")

    def answer(self) -> Answer:
        """The answer, once it is whole."""
        status = self._status or self._parser.get_status_code()
        return Answer(status, b"".join(self._body), self._retry_after)

    # called by the parser

    def on_message_begin(self) -> None:
        """The status line is about to come."""
        if self.complete:
            self.may_follow = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if self.complete:
            return
        match name.lower():
            case b"content-length":
                self._measured = True
                self._announced = max(self._announced, int(value))
            case b"transfer-encoding":
                self._measured = True
            case b"retry-after":
                # said twice it is not said
                self._retry_after = None if self._waits else seconds_of(value.decode("latin-1"))
                self._waits = True

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if not self.complete and self._parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("another version of HTTP")  # which the parser hands on as its own error
        self._headed = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self.complete:
            self._body.append(body)
            self._size += len(body)

    def on_message_complete(self) -> None:
        """The answer is whole, or one that only tells that it will come."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._headed = self._measured = False
            return
        self.complete, self._status = True, status
        self.may_follow = self._parser.should_keep_alive()
