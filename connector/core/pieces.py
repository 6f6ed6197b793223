"""Large frames in pieces: an array of thousands of elements as several arrays of a few hundred."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from connector.core.envelope import DATA, STREAM

_TEXT = r"[^\"\\\x00-\x1f\x7f-\xff]*"
_HEAD = re.compile(rf'\[(?={{)|{{"{STREAM}":"({_TEXT})","{DATA}":\[(?={{)'.encode())


@dataclass(frozen=True, slots=True)
class Pieces:
    """The elements of a frame that is, to the letter, ``[{…},…,{…}]`` or ``{"stream":"…","data":[{…},…,{…}]}``.

    It is cut where one object seems to end and another to begin, and nobody has looked at what stands before. So a
    piece need not be JSON: the place may be inside a text, or an element. But if every piece is an array, then their
    elements, in order, are the frame's: of two arrays, what stands between the brackets makes with a comma in between
    an array of the elements of both, and JSON can be read in one way only.
    """

    data: bytes
    stream: str
    """As the envelope names it; empty where there is none."""
    start: int
    end: int
    about_bytes: int
    """A piece ends with the first object that ends beyond so many."""

    @classmethod
    def of(cls, data: bytes, about_bytes: int) -> Pieces | None:
        """None where the frame begins or ends in another way."""
        head = _HEAD.match(data)
        if head is None:
            return None
        stream = head[1]
        closing = b"]" if stream is None else b"]}"
        if not data.endswith(b"}" + closing):
            return None
        return cls(data, (stream or b"").decode(), head.end(), len(data) - len(closing), about_bytes)

    def __iter__(self) -> Iterator[bytes]:
        start = self.start
        while start < self.end:
            found = self.data.find(b"},{", start + self.about_bytes, self.end)
            end = self.end if found < 0 else found + 1
            yield b"[%b]" % self.data[start:end]
            start = end + 1
