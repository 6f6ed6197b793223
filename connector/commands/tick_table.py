"""A table of what a topic holds now, one line a symbol, as ``tail`` and ``demo`` show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from statistics import quantiles

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from connector.core.schema import Kind, StreamSchema
from connector.edges.topic_reader import Row

OTHER_COLUMNS_WIDTH = 34
DECIMAL_WIDTH = 16
LATENCY_OF_LAST_MS = 10_000


class TickTable:
    """Feed it rows; :meth:`render` draws the newest of each symbol."""

    def __init__(self, schema: StreamSchema) -> None:
        self._fields = [spec.name for spec in schema.fields if spec.kind is Kind.DECIMAL]
        self._newest: dict[str, Row] = {}
        self._visible_after_ms: deque[tuple[int, int]] = deque()
        self.records = 0

    def add(self, rows: Iterable[Row], *, live: bool) -> None:
        """``live``: the rows were read as they came, so that their age says something."""
        for row in rows:
            if row.value is None:
                self._newest.pop(row.key, None)
                continue
            self.records += 1
            self._newest[row.key] = row
            received = row.value.get("received_time")
            if live and received is not None:
                self._visible_after_ms.append((row.read_at_ms, row.read_at_ms - round(received.timestamp() * 1000)))
                while row.read_at_ms - self._visible_after_ms[0][0] > LATENCY_OF_LAST_MS:
                    self._visible_after_ms.popleft()

    @property
    def symbols(self) -> int:
        return len(self._newest)

    def visible_after_ms(self) -> tuple[float, float] | None:
        """Median and 99th percentile, of the last ten seconds: received by the connector → read here as committed."""
        if len(self._visible_after_ms) < 2:
            return None
        cuts = quantiles([after_ms for _, after_ms in self._visible_after_ms], n=100, method="inclusive")
        return cuts[49], cuts[98]

    def render(self, now_ms: int, *, width: int, most_rows: int, above: RenderableType) -> RenderableType:
        """As many of the schema's decimals as fit with all their digits; as many symbols as there is room for."""
        fields = self._fields[: max(1, (width - OTHER_COLUMNS_WIDTH) // DECIMAL_WIDTH)]
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("symbol", no_wrap=True)
        for name in fields:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("age", justify="right")
        table.add_column("partition", justify="right")
        shown = sorted(self._newest)[:most_rows]
        for symbol in shown:
            row = self._newest[symbol]
            assert row.value is not None
            table.add_row(
                symbol,
                *(plain(row.value.get(name)) for name in fields),
                f"{(now_ms - row.timestamp_ms) / 1000:.1f} s",
                str(row.partition),
            )
        parts: list[RenderableType] = [above, Text(), table]
        if len(self._newest) > len(shown):
            parts.append(Text(f"and {len(self._newest) - len(shown)} symbols more", style="dim"))
        return Group(*parts)


def plain(value: object) -> str:
    """A decimal with all its digits, never in exponent form."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
