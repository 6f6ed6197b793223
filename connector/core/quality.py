"""Whether values look as good data does. Nothing is refused for it: it is told, and the records are as they came.

What is looked for stands in the schema's ``quality`` attribute:

``disordered``
    Fields that ascend in all good data (the rates around the index price) do not.
``frozen``, ``all frozen``
    Event time advances, and the values of a symbol, or of all symbols, stay what they were.
``symbols differ``
    REST lists a symbol that the stream does not bring, or the other way round.

Each is told when it begins and when it is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import pairwise

from connector.core.admit import GONE_AFTER_MS
from connector.core.decimals import exact_decimal
from connector.core.encode import skippers
from connector.core.happenings import Happening, QualityCleared, QualityFound
from connector.core.ledger_events import EVERY_SYMBOL
from connector.core.schema import QualitySpec, StreamSchema
from connector.core.values import Ticks

DISORDERED = "disordered"
FROZEN = "frozen"
ALL_FROZEN = "all frozen"
SYMBOLS_DIFFER = "symbols differ"
FINDINGS = (DISORDERED, FROZEN, ALL_FROZEN, SYMBOLS_DIFFER)

ORDERED_FOR_MS = 60_000
"""A symbol is in order again once it was so for this long."""
MANY_SYMBOLS = 10
"""Of fewer, all may be pegged ones, and stand still together in good order."""
LOOKS_MISSED = 10
"""Periods between two looks after which nobody can say that a value did not change in between."""


class Findings:
    """What is open: told when it begins, and again when it is over."""

    def __init__(self) -> None:
        self._last_ms: dict[tuple[str, str], int] = {}
        """By finding and symbol, when it was last found."""

    def found(self, finding: str, about: str, at_ms: int, detail: str) -> Iterator[Happening]:
        if (finding, about) not in self._last_ms:
            yield QualityFound(finding, about, detail)
        self._last_ms[finding, about] = at_ms

    def over(self, finding: str, about: str) -> Iterator[Happening]:
        if self._last_ms.pop((finding, about), None) is not None:
            yield QualityCleared(finding, about)

    def last_ms(self, finding: str, about: str) -> int | None:
        """None where it is not open."""
        return self._last_ms.get((finding, about))

    def symbols(self, finding: str) -> list[str]:
        """The symbols about which it is open."""
        return [about for each, about in self._last_ms if each == finding]


@dataclass(slots=True)
class _Seen:
    """A symbol's values as last looked at, and since when they have been these."""

    values: bytes
    since_ms: int
    at_ms: int


class Quality:
    """Looks at the ticks of a frame. Not thread-safe."""

    def __init__(self, schema: StreamSchema, spec: QualitySpec) -> None:
        names = [each.name for each in schema.content_fields]
        self._spec = spec
        self._skippers = skippers(schema)[: len(names)]
        self._time_at = names.index(schema.feed.time_field)
        self._ascending = [(schema.field(name), names.index(name)) for name in spec.ascending]
        self._trusted_ms = LOOKS_MISSED * schema.feed.cadence_ms
        self._symbols: dict[str, _Seen] = {}
        self._findings = Findings()
        self._looked_ms = self._moved_ms = self._swept_ms = 0

    def look(self, ticks: Ticks) -> Iterator[Happening]:
        """What these ticks show. One that is not newer than what was seen of its symbol shows nothing."""
        for symbol, at_ms, content in zip(ticks.symbols, ticks.event_times_ms, ticks.contents, strict=True):
            seen = self._symbols.get(symbol)
            if seen is None or at_ms > seen.at_ms:
                ends = self._ends(content)
                yield from self._order(symbol, at_ms, content, ends)
                values = content[: ends[self._time_at]] + content[ends[self._time_at + 1] :]
                yield from self._movement(symbol, at_ms, values, seen)
        yield from self._movement_of_all(max(ticks.event_times_ms, default=0))
        if self._looked_ms - self._swept_ms > GONE_AFTER_MS:
            self._swept_ms = self._looked_ms
            yield from self._sweep()

    def _ends(self, content: bytes) -> list[int]:
        """Where the fields are: each from its own number in the list to the next."""
        position, ends = 0, [0]
        for skip in self._skippers:
            position = skip(content, position)
            ends.append(position)
        return ends

    def _order(self, symbol: str, at_ms: int, content: bytes, ends: list[int]) -> Iterator[Happening]:
        values = [_unscaled(content, ends[place], ends[place + 1]) for _, place in self._ascending]
        for number, (lower, upper) in enumerate(pairwise(values)):
            if lower > upper + self._spec.tolerance:
                shown = [
                    f"{spec.name} {exact_decimal(value, spec.scale)}"
                    for (spec, _), value in zip(self._ascending[number : number + 2], (lower, upper), strict=True)
                ]
                detail = f"{' is greater than '.join(shown)}, event time {at_ms}"
                yield from self._findings.found(DISORDERED, symbol, at_ms, detail)
                return
        last_ms = self._findings.last_ms(DISORDERED, symbol)
        if last_ms is not None and at_ms - last_ms >= ORDERED_FOR_MS:
            yield from self._findings.over(DISORDERED, symbol)

    def _movement(self, symbol: str, at_ms: int, values: bytes, seen: _Seen | None) -> Iterator[Happening]:
        if seen is None or values != seen.values or at_ms - seen.at_ms > self._trusted_ms:
            self._symbols[symbol] = _Seen(values, at_ms, at_ms)
            self._moved_ms = max(self._moved_ms, at_ms)
            yield from self._findings.over(FROZEN, symbol)
            return
        seen.at_ms = at_ms
        all_frozen = self._findings.last_ms(ALL_FROZEN, EVERY_SYMBOL) is not None
        if at_ms - seen.since_ms >= self._spec.symbol_frozen_ms and not all_frozen:
            detail = f"the same values since event time {seen.since_ms}"
            yield from self._findings.found(FROZEN, symbol, at_ms, detail)

    def _movement_of_all(self, at_ms: int) -> Iterator[Happening]:
        self._looked_ms = max(self._looked_ms, at_ms)
        still_ms = self._looked_ms - self._moved_ms
        if still_ms >= self._spec.stream_frozen_ms and len(self._symbols) >= MANY_SYMBOLS:
            detail = f"no symbol has changed since event time {self._moved_ms}"
            yield from self._findings.found(ALL_FROZEN, EVERY_SYMBOL, at_ms, detail)
        else:
            yield from self._findings.over(ALL_FROZEN, EVERY_SYMBOL)

    def _sweep(self) -> Iterator[Happening]:
        """Forget the symbols that have gone."""
        gone = [name for name, seen in self._symbols.items() if self._looked_ms - seen.at_ms > GONE_AFTER_MS]
        for symbol in gone:
            del self._symbols[symbol]
            yield from self._findings.over(DISORDERED, symbol)
            yield from self._findings.over(FROZEN, symbol)


class SymbolSets:
    """Compares the symbols of REST with those of the stream. What differs twice in a row is told."""

    def __init__(self) -> None:
        self._suspected: dict[str, str] = {}
        self._findings = Findings()

    @property
    def is_unsure(self) -> bool:
        """Whether something differs that was not told yet: to be asked again before long."""
        told = self._findings.symbols(SYMBOLS_DIFFER)
        return any(symbol not in told for symbol in self._suspected)

    def compare(self, in_rest: Set[str], in_stream: Set[str]) -> Iterator[Happening]:
        differing = dict.fromkeys(in_rest - in_stream, "REST has it, the stream does not bring it")
        differing |= dict.fromkeys(in_stream - in_rest, "the stream brings it, REST does not have it")
        for symbol in self._findings.symbols(SYMBOLS_DIFFER):
            if symbol not in differing:
                yield from self._findings.over(SYMBOLS_DIFFER, symbol)
        for symbol, detail in sorted(differing.items()):
            if self._suspected.get(symbol) == detail:
                yield from self._findings.found(SYMBOLS_DIFFER, symbol, 0, detail)
        self._suspected = differing


def _unscaled(content: bytes, start: int, end: int) -> int:
    """The decimal in these bytes, in units of its scale; before its digits stands their length, in one byte."""
    return int.from_bytes(content[start + 1 : end], "big", signed=True)
