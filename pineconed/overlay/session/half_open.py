# SPDX-License-Identifier: Apache-2.0
"""Handshakes that others began: each waits for its CONFIRM, for a while."""

from pineconed.clock import NEVER
from pineconed.overlay.session.answer import Answer
from pineconed.overlay.session.drops import Drops, SessionDrop
from pineconed.overlay.session.indices import Indices

MAX_HALF_OPEN = 1000


class HalfOpenTable:
    """Answers by the INIT that they are to, oldest first out. Finished ones stay until their time is up too.

    An INIT is told by the source key that it came with and by all of its message.
    """

    def __init__(self, indices: Indices, drops: Drops) -> None:
        self._indices = indices
        self._drops = drops
        self._answers: dict[tuple[bytes, bytes], Answer] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, source_key: bytes, init: bytes) -> Answer | None:
        """The answer to an INIT that was here before."""
        return self._answers.get((source_key, init))

    def add(self, answer: Answer) -> None:
        """Keep an answer; the oldest makes room."""
        if len(self._answers) >= MAX_HALF_OPEN:
            evicted = self._remove(next(iter(self._answers)))
            if evicted.session is None:
                self._drops.count(SessionDrop.HALF_OPEN_EVICTED)
        self._answers[answer.source_key, answer.init] = answer
        self._indices.owners[answer.index] = answer

    def finish(self, answer: Answer) -> None:
        """A CONFIRM came: the answer stays for its repeats, as the newest."""
        key = answer.source_key, answer.init
        self._answers[key] = self._answers.pop(key)

    def expire(self, now: float) -> None:
        """Forget those whose time is up."""
        while self.deadline() <= now:
            self._remove(next(iter(self._answers)))

    def deadline(self) -> float:
        """When the first is to be forgotten."""
        return next(iter(self._answers.values())).expires_at if self._answers else NEVER

    def _remove(self, key: tuple[bytes, bytes]) -> Answer:
        answer = self._answers.pop(key)
        self._indices.release(answer)
        if answer.session is not None:
            answer.session.answer = None
        return answer
