"""What the fake exchange really pushed, and to whom: the judge of every test.

Kept in memory (all of it, or the last ``keep_periods``), or written to a file of JSON lines
(``truth_path``) for long runs; :meth:`Truth.read` reads such a file later, in any process.
A period is added right after it was pushed, before the next is.
All methods may be called from any thread while the exchange runs.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

VALUE_KEYS: Final = ("i", "b", "a", "B", "A", "q", "g", "Q", "G")
FAULTS_KEPT: Final = 20_000
REST_REPLIES_KEPT: Final = 1_000

# How the lines of a truth file begin; and where a period's true array stands in its line, copied as it was sent.
_PERIOD: Final = '{"E": '
_FAULT: Final = '{"fault": '
_REST: Final = '{"rest": '
_END: Final = '{"end": '
_DATA: Final = ', "data": '


@dataclass(frozen=True, slots=True)
class SentElement:
    """One element in its true form, and the connections that it was handed to."""

    symbol: str
    event_time_ms: int
    values: dict[str, str]
    connection_ids: tuple[int, ...]

    @property
    def connections(self) -> int:
        return len(self.connection_ids)


@dataclass(frozen=True, slots=True)
class SentPeriod:
    """One period: the true array as text, which connections got all of it, and which got single elements."""

    event_time_ms: int
    array_text: str
    whole: tuple[int, ...]
    parts: Mapping[str, tuple[int, ...]]

    def elements(self, *, unsent: bool = False) -> Iterator[SentElement]:
        for element in json.loads(self.array_text):
            symbol = element["s"]
            connection_ids = (*self.whole, *self.parts.get(symbol, ()))
            if connection_ids or unsent:
                values = {key: element[key] for key in VALUE_KEYS}
                yield SentElement(symbol, element["E"], values, connection_ids)

    def to_line(self) -> str:
        head = json.dumps({"E": self.event_time_ms, "whole": self.whole, "parts": self.parts})
        return f"{head[:-1]}{_DATA}{self.array_text}}}\n"

    @classmethod
    def from_line(cls, line: str) -> SentPeriod:
        head, _, array_text = line.rstrip("\n").partition(_DATA)
        fields = json.loads(f"{head}}}")
        parts = {symbol: tuple(identifiers) for symbol, identifiers in fields["parts"].items()}
        return cls(fields["E"], array_text[:-1], tuple(fields["whole"]), parts)


@dataclass(frozen=True, slots=True)
class FaultySend:
    """Something that was sent to one connection by order of a test, in place of the truth or beside it.

    ``event_time_ms`` is that of the period in which it was sent; ``payload`` is the element,
    or the message where all of it is meant (cut at 64 KiB, and as text with replacements where it is none).
    """

    kind: str
    event_time_ms: int
    connection_id: int
    symbols: tuple[str, ...]
    payload: str


@dataclass(frozen=True, slots=True)
class RestReply:
    """One answer of the REST end point: its time and its rows, under the REST names."""

    time_ms: int
    rows: tuple[dict[str, str | int], ...]


class Truth:
    """``elements()`` and ``periods()``: what was pushed. ``faults``: what was by order. ``rest_replies``: REST."""

    def __init__(self, truth_path: str | Path | None = None, keep_periods: int | None = None) -> None:
        self._lock = threading.Lock()
        self._path = None if truth_path is None else Path(truth_path)
        self._file: IO[str] | None = None if self._path is None else self._path.open("w", encoding="utf-8")
        self._periods: deque[SentPeriod] = deque(maxlen=keep_periods)
        self._faults: deque[FaultySend] = deque(maxlen=FAULTS_KEPT)
        self._rest_replies: deque[RestReply] = deque(maxlen=REST_REPLIES_KEPT)
        self._ends: dict[int, int] = {}

    @classmethod
    def read(cls, truth_path: str | Path) -> Truth:
        """The truth that an exchange wrote to a file, also while it is still writing."""
        truth = cls()
        truth._path = Path(truth_path)
        return truth

    def periods(self) -> Iterator[SentPeriod]:
        """Every period in order, also those that nobody was sent."""
        if self._path is not None:
            yield from (SentPeriod.from_line(line) for line in self._lines(_PERIOD))
            return
        with self._lock:
            kept = list(self._periods)
        yield from kept

    def elements(self, *, unsent: bool = False) -> Iterator[SentElement]:
        """Every element that was handed in its true form, and in its time, to at least one open data connection.

        With ``unsent`` also those that were handed to none.
        """
        for period in self.periods():
            yield from period.elements(unsent=unsent)

    @property
    def faults(self) -> list[FaultySend]:
        """What was sent by order of a test, oldest first; in memory the newest 20,000 are kept."""
        if self._path is not None:
            found = (json.loads(line)["fault"] for line in self._lines(_FAULT))
            return [FaultySend(**{**fields, "symbols": tuple(fields["symbols"])}) for fields in found]
        with self._lock:
            return list(self._faults)

    @property
    def rest_replies(self) -> list[RestReply]:
        """The answers of the REST end point, oldest first; in memory the newest 1,000 are kept."""
        if self._path is not None:
            found = (json.loads(line) for line in self._lines(_REST))
            return [RestReply(fields["rest"], tuple(fields["rows"])) for fields in found]
        with self._lock:
            return list(self._rest_replies)

    @property
    def ends(self) -> dict[int, int]:
        """Connections that ended, with the event time of the newest period then.

        What was handed to a connection just before its end was not read where the client ended it, or died:
        the exchange cannot know. Nothing is lost so at a client that was reading and was dropped by order.
        """
        if self._path is not None:
            found = (json.loads(line) for line in self._lines(_END))
            return {fields["end"]: fields["E"] for fields in found}
        with self._lock:
            return dict(self._ends)

    # What follows is called by the exchange alone.

    def add_period(self, period: SentPeriod) -> None:
        with self._lock:
            if self._file is None:
                self._periods.append(period)
            else:
                self._write(period.to_line())

    def add_fault(self, fault: FaultySend) -> None:
        with self._lock:
            if self._file is None:
                self._faults.append(fault)
            else:
                self._write(json.dumps({"fault": asdict(fault)}) + "\n")

    def add_rest_reply(self, reply: RestReply) -> None:
        with self._lock:
            if self._file is None:
                self._rest_replies.append(reply)
            else:
                self._write(json.dumps({"rest": reply.time_ms, "rows": reply.rows}) + "\n")

    def add_end(self, connection_id: int, event_time_ms: int) -> None:
        with self._lock:
            if self._file is None:
                self._ends[connection_id] = event_time_ms
            else:
                self._write(json.dumps({"end": connection_id, "E": event_time_ms}) + "\n")

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, line: str) -> None:
        assert self._file is not None
        self._file.write(line)
        self._file.flush()  # line by line, so that a reader in another process sees whole lines

    def _lines(self, beginning: str) -> Iterator[str]:
        assert self._path is not None
        with self._path.open(encoding="utf-8") as lines:
            yield from (line for line in lines if line.startswith(beginning) and line.endswith("\n"))
