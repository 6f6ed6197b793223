"""The throughput as an SVG: one bar a subject, with its spread."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.benchmarks.throughput import Result

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 150, 130, 46, 56
COLOURS = {"ceiling": "#9aa5b1", "plain": "#d08770", "at-least-once": "#5e81ac", "exactly-once": "#3b6ea5"}


def chart(results: Sequence[Result], caption: str) -> str:
    """Medians as bars, least to greatest as a line over their ends."""
    scale = (WIDTH - LEFT - RIGHT) / max(result.records_a_cpu_second.max for result in results)
    height = TOP + ROW * len(results) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="14" role="img" aria-label="Records a CPU-second by subject">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="16" y="24" font-size="16" font-weight="bold">Records a CPU-second</text>',
        f'<text x="16" y="42" font-size="12" fill="#555">{escape(caption)}</text>',
    ]
    for number, result in enumerate(results):
        parts += _bar(result, TOP + ROW * number, scale)
    return "\n".join([*parts, "</svg>", ""])


def _bar(result: Result, top: int, scale: float) -> list[str]:
    values = result.records_a_cpu_second
    middle = top + ROW // 2
    first, end, last = (LEFT + scale * value for value in (values.min, values.median, values.max))
    return [
        f'<text x="{LEFT - 10}" y="{middle + 5}" text-anchor="end">{escape(result.case.subject)}</text>',
        f'<rect x="{LEFT}" y="{top + 8}" width="{end - LEFT:.1f}" height="{ROW - 16}" '
        f'fill="{COLOURS[result.case.subject]}"/>',
        f'<path d="M{first:.1f} {middle}H{last:.1f}M{first:.1f} {middle - 5}v10M{last:.1f} {middle - 5}v10" '
        f'stroke="#222" fill="none"/>',
        f'<text x="{last + 8:.1f}" y="{middle + 5}">{values.median:,.0f}</text>',
    ]
