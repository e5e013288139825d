"""Applications for simulations: a client that speaks in turns, and a server that checks and answers them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .model_tcp import Clock, Endpoint

__all__ = ["Script", "TurnClient", "TurnServer"]


@dataclass(frozen=True)
class Script:
    """What a session does.

    turns: (length of the request, length of the response). greeting: octets the server speaks first.
    ending: `fin` (the client closes after the last response), `half_close` (it closes with its last request), `rst`
    (it resets after the last response), `server` (the server closes after the last response).
    """

    turns: list[tuple[int, int]]
    greeting: int = 0
    ending: str = "fin"
    client_pause_s: float = 0.0

    def request(self, turn: int) -> bytes:
        """Return the bytes of a request; no two stretches of a session are alike."""
        return random.Random(turn).randbytes(self.turns[turn][0])

    @property
    def client_bytes(self) -> bytes:
        """Everything the client sends."""
        return b"".join(self.request(turn) for turn in range(len(self.turns)))


class TurnClient:
    """Sends a request once it has read the whole response to the one before."""

    def __init__(self, clock: Clock, script: Script) -> None:
        self.clock, self.script = clock, script
        self.read = 0
        self.sent_turns = 0
        self.done = False
        self.failed = False
        self._needed = script.greeting

    def opened(self, endpoint: Endpoint) -> None:
        """The handshake is complete."""
        self._go_on(endpoint)

    def arrived(self, endpoint: Endpoint, end: int) -> None:
        """Response bytes reached the stack."""

    def readable(self, endpoint: Endpoint) -> None:
        """Read everything at once."""
        self.read += len(endpoint.read(1 << 30))
        self._go_on(endpoint)

    def finished(self, endpoint: Endpoint) -> None:
        """The server closed; so does the client."""
        if not endpoint.fin_wanted:
            endpoint.close()

    def was_reset(self, endpoint: Endpoint) -> None:
        """The online server never resets in these scripts."""
        self.failed = True

    def _go_on(self, endpoint: Endpoint) -> None:
        if self.read >= self._needed and not self.done:
            self.clock.call_later(self.script.client_pause_s, self._speak, endpoint, self.sent_turns)

    def _speak(self, endpoint: Endpoint, turn: int) -> None:
        if turn != self.sent_turns or self.done:
            return
        turns = self.script.turns
        if turn == len(turns):
            self.done = True
            if self.script.ending == "rst":
                endpoint.abort()
            elif self.script.ending != "server":
                endpoint.close()
            return
        response = turns[turn][1]
        self.sent_turns += 1
        self._needed += response
        if self.sent_turns == len(turns) and self.script.ending == "half_close":
            self.done = True
            endpoint.fin_wanted = True
        endpoint.write(self.script.request(turn))
        if not response:
            self._go_on(endpoint)


@dataclass
class TurnServer:
    """Reads requests, answers each after `think_s`, and notes every byte that came before it was due."""

    clock: Clock
    script: Script
    responses: list[int]
    think_s: float = 0.001
    read_size: int = 1 << 30
    read_pause_s: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    answered: int = 0
    premature: list[str] = field(default_factory=list)
    saw_fin: bool = False
    saw_reset: bool = False
    _due: int = 0
    _reading: bool = False
    _greeted: bool = False

    def opened(self, endpoint: Endpoint) -> None:
        """Greet, if that is the protocol."""
        if self.script.greeting:
            self.clock.call_later(self.think_s, self._greet, endpoint)
        else:
            self._greeted = True

    def _greet(self, endpoint: Endpoint) -> None:
        self._greeted = True
        endpoint.write(b"g" * self.script.greeting)

    def arrived(self, endpoint: Endpoint, end: int) -> None:
        """Note octets of a turn whose predecessor is not answered yet."""
        start_of_next = sum(size for size, _ in self.script.turns[: self.answered + 1])
        if not self._greeted:
            self.premature.append(f"octets up to {end} came before the greeting was sent")
        elif end > start_of_next:
            self.premature.append(f"octets up to {end} came when {self.answered} turns were answered")

    def readable(self, endpoint: Endpoint) -> None:
        """Read at this application's own pace."""
        if not self._reading:
            self._reading = True
            self.clock.call_later(self.read_pause_s, self._read, endpoint)

    def _read(self, endpoint: Endpoint) -> None:
        self._reading = False
        self.received += endpoint.read(self.read_size)
        if endpoint.unread:
            self.readable(endpoint)
        self._answer_complete_requests(endpoint)

    def _answer_complete_requests(self, endpoint: Endpoint) -> None:
        ends = 0
        for index, (size, _) in enumerate(self.script.turns):
            ends += size
            if index >= self._due and len(self.received) >= ends:
                self._due = index + 1
                self.clock.call_later(self.think_s, self._answer, endpoint, index)
        self._maybe_close(endpoint)

    def _answer(self, endpoint: Endpoint, index: int) -> None:
        self.answered = index + 1
        if self.responses[index]:
            endpoint.write(b"r" * self.responses[index])
        self._maybe_close(endpoint)

    def finished(self, endpoint: Endpoint) -> None:
        """The client closed."""
        self.saw_fin = True
        self._maybe_close(endpoint)

    def _maybe_close(self, endpoint: Endpoint) -> None:
        everything = self.answered == len(self.script.turns)
        wanted = self.script.ending == "server" or (self.saw_fin and not endpoint.unread)
        if everything and wanted and not endpoint.fin_wanted:
            endpoint.close()

    def was_reset(self, endpoint: Endpoint) -> None:
        """The client reset the connection; what was received before stays readable."""
        self.received += endpoint.read(1 << 30)
        self.saw_reset = True
