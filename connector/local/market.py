"""A made-up market that moves like the real one: symbols, prices, buffers, and the text of each push.

The same seed gives the same values, period for period, whenever and wherever it runs.
Shapes, start prices and buffers are those of published samples of the real exchange.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Final

EVENT_TYPE: Final = "assetIndexUpdate"
ARRAY_STREAM: Final = "!assetIndex@arr"

_HIDDEN_SCALE: Final = 10**12
"""The index is kept with four digits more than are shown; rates are computed from the hidden one."""
_SHOWN_SCALE: Final = 10**8


@dataclass(frozen=True, slots=True)
class Listing:
    """One asset index as it starts. Buffers are in units of 1e-8, the price is text."""

    symbol: str
    price: str
    buffer: int
    exchange_buffer: int
    step_ppm: int
    """Largest move in one period, in millionths of the price."""


def _listing(symbol: str, price: str, buffer_percent: float, exchange_percent: float, step_ppm: int) -> Listing:
    return Listing(symbol, price, round(buffer_percent * 1e6), round(exchange_percent * 1e6), step_ppm)


_STABLE_PPM: Final = 4
_MOVING_PPM: Final = 250

# In the order in which the exchange pushes them here: the real one does not sort either.
KNOWN: Final = (
    _listing("BTCUSD", "86156.14485640", 5, 2.5, _MOVING_PPM),
    _listing("ETHUSD", "2931.40718265", 5, 2.5, _MOVING_PPM),
    _listing("USDTUSD", "0.99968617", 0.01, 0.01, _STABLE_PPM),
    _listing("USDCUSD", "0.99981204", 0.01, 0.01, _STABLE_PPM),
    _listing("BNBUSD", "871.23094417", 5, 2.5, _MOVING_PPM),
    _listing("FDUSDUSD", "0.99794350", 0.05, 0.05, _STABLE_PPM),
    _listing("LDUSDTUSD", "1.13451768", 0.1, 0.1, _STABLE_PPM),
    _listing("UUSD", "1.00013842", 0.1, 0.1, _STABLE_PPM),
    _listing("USD1USD", "0.99952617", 0.1, 0.1, _STABLE_PPM),
    _listing("BFUSDUSD", "0.99910275", 0.1, 0.1, _STABLE_PPM),
    # Settlement assets of the coin-margined products: no buffers, and all rates equal the index.
    _listing("SOLUSD", "78.00217964", 0, 0, _MOVING_PPM),
    _listing("UNIUSD", "3.61187354", 0, 0, _MOVING_PPM),
    _listing("TRXUSD", "0.32658538", 0, 0, _MOVING_PPM),
    _listing("RWUSDUSD", "1.01450933", 0.1, 0.1, _STABLE_PPM),
    _listing("BNFCRUSD", "1.00000000", 0.01, 0.01, _STABLE_PPM),
    _listing("ADAUSD", "0.27462452", 10, 5, _MOVING_PPM),
    _listing("XRPUSD", "1.43390726", 10, 5, _MOVING_PPM),
    _listing("DOTUSD", "2.20716590", 10, 5, _MOVING_PPM),
)
_KNOWN_BY_SYMBOL: Final = {listing.symbol: listing for listing in KNOWN}


def symbol_names(count: int) -> tuple[str, ...]:
    """The first ``count`` symbols: real names, then ``A001USD``, ``A002USD`` …"""
    known = [listing.symbol for listing in KNOWN[:count]]
    return (*known, *(f"A{number:03d}USD" for number in range(1, count - len(known) + 1)))


def _invented(symbol: str) -> Listing:
    """A listing for a name of no known asset, the same whenever it is asked for."""
    random = Random(symbol)  # text seeds are hashed the same way in every process
    price = 10 ** random.uniform(-3, 4)
    buffer_percent, exchange_percent = random.choice([(5.0, 2.5), (10.0, 5.0), (20.0, 10.0), (0.0, 0.0)])
    return _listing(symbol, f"{price:.8f}", buffer_percent, exchange_percent, _MOVING_PPM)


def _shown(value: int) -> str:
    return f"{value // _SHOWN_SCALE}.{value % _SHOWN_SCALE:08d}"


@dataclass(frozen=True, slots=True)
class Row:
    """One symbol at one moment, as decimal texts with 8 fraction digits."""

    symbol: str
    index: str
    buffer: str
    bid_rate: str
    ask_rate: str
    exchange_buffer: str
    exchange_bid_rate: str
    exchange_ask_rate: str

    def wire(self, event_time_ms: int) -> str:
        """The element as pushed; keys in the order of the real samples."""
        return (
            f'{{"e":"{EVENT_TYPE}","E":{event_time_ms},"s":"{self.symbol}","i":"{self.index}",'
            f'"b":"{self.buffer}","a":"{self.buffer}","B":"{self.bid_rate}","A":"{self.ask_rate}",'
            f'"q":"{self.exchange_buffer}","g":"{self.exchange_buffer}",'
            f'"Q":"{self.exchange_bid_rate}","G":"{self.exchange_ask_rate}"}}'
        )

    def rest(self, time_ms: int) -> dict[str, str | int]:
        """The row as the REST end point gives it."""
        return {
            "symbol": self.symbol,
            "time": time_ms,
            "index": self.index,
            "bidBuffer": self.buffer,
            "askBuffer": self.buffer,
            "bidRate": self.bid_rate,
            "askRate": self.ask_rate,
            "autoExchangeBidBuffer": self.exchange_buffer,
            "autoExchangeAskBuffer": self.exchange_buffer,
            "autoExchangeBidRate": self.exchange_bid_rate,
            "autoExchangeAskRate": self.exchange_ask_rate,
        }


@dataclass(frozen=True)
class Snapshot:
    """The whole market at one event time; the texts are made once, however many connections get them."""

    event_time_ms: int
    rows: tuple[Row, ...]

    @cached_property
    def elements(self) -> dict[str, str]:
        """Wire text of each symbol's element."""
        return {row.symbol: row.wire(self.event_time_ms) for row in self.rows}

    @cached_property
    def array_text(self) -> str:
        return f"[{','.join(self.elements.values())}]"

    @cached_property
    def array(self) -> bytes:
        """The raw message of the array stream."""
        return self.array_text.encode()

    @cached_property
    def combined_array(self) -> bytes:
        """The same within the envelope of combined streams."""
        return f'{{"stream":"{ARRAY_STREAM}","data":{self.array_text}}}'.encode()


class _Walk:
    """The price of one symbol: a random walk that is drawn back to where it began."""

    __slots__ = ("_buffers", "_hidden", "_origin", "_pull", "_random", "_step_ppm", "symbol")

    def __init__(self, listing: Listing, seed: int) -> None:
        self.symbol = listing.symbol
        random = Random(f"{seed}:{listing.symbol}")
        units, fraction = listing.price.split(".")
        self._origin = int(units) * _HIDDEN_SCALE + int(fraction) * (_HIDDEN_SCALE // _SHOWN_SCALE)
        self._hidden = self._origin + random.randrange(10_000)
        self._random = random.getrandbits(64)
        self._step_ppm = listing.step_ppm
        self._pull = 256 if listing.step_ppm == _STABLE_PPM else 4096
        self._buffers = (listing.buffer, listing.exchange_buffer)

    def advance(self) -> None:
        # A linear congruential step in plain integers: at thousands of symbols a Random each costs too much.
        self._random = (self._random * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        noise = (self._random >> 33) - 2**30
        move = self._hidden * self._step_ppm * noise // (2**30 * 1_000_000)
        self._hidden += move - (self._hidden - self._origin) // self._pull

    def row(self) -> Row:
        hidden = self._hidden
        buffer, exchange_buffer = self._buffers

        def rate(factor: int) -> str:
            return _shown((hidden * factor + _HIDDEN_SCALE // 2) // _HIDDEN_SCALE)

        return Row(
            self.symbol,
            rate(_SHOWN_SCALE),
            _shown(buffer),
            rate(_SHOWN_SCALE - buffer),
            rate(_SHOWN_SCALE + buffer),
            _shown(exchange_buffer),
            rate(_SHOWN_SCALE - exchange_buffer),
            rate(_SHOWN_SCALE + exchange_buffer),
        )


class Market:
    """All symbols; :meth:`snapshot` moves every price by one step.

    ``symbols`` is a count (see :func:`symbol_names`) or the names themselves.
    """

    def __init__(self, symbols: int | Sequence[str] = 60, seed: int = 1) -> None:
        names: Iterable[str] = symbol_names(symbols) if isinstance(symbols, int) else symbols
        self._seed = seed
        self._walks: dict[str, _Walk] = {}
        self._vanished: dict[str, _Walk] = {}
        for name in names:
            self.add(name)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that are pushed now, in the order of the array."""
        return tuple(self._walks)

    def add(self, symbol: str) -> None:
        """A new symbol, at the end of the array."""
        if symbol in self._walks:
            raise ValueError(f"{symbol} is listed already")
        self._walks[symbol] = _Walk(_KNOWN_BY_SYMBOL.get(symbol) or _invented(symbol), self._seed)

    def vanish(self, symbol: str) -> None:
        """Leave a symbol out of every push until :meth:`restore`; its price moves on unseen."""
        self._vanished[symbol] = self._walks.pop(symbol)

    def restore(self, symbol: str) -> None:
        self._walks[symbol] = self._vanished.pop(symbol)

    def snapshot(self, event_time_ms: int) -> Snapshot:
        for walk in (*self._walks.values(), *self._vanished.values()):
            walk.advance()
        return Snapshot(event_time_ms, tuple(walk.row() for walk in self._walks.values()))
