"""Decimals, exact: from the text on the wire to the bytes in Avro, or a reason why not.

The venue sends decimals as text. What is accepted is
``-?[0-9]+(\\.[0-9]+)?`` in ASCII, and the same with an exponent; Python's own
``int`` and ``Decimal`` accept more (``1_000``, ``" 5 "``, Arabic digits), and
a float would not be exact. Nothing is ever rounded.
"""

from __future__ import annotations

import re

from connector.core.values import Reason

_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_MAX_EXPONENT_DIGITS = 6
"""Beyond it a number that is not zero fits no decimal: refused before anything of that size is made."""
_TABLE_LIMIT = 1024
_TABLE_TEXT_LIMIT = 64


class Unfit(Exception):  # noqa: N818 - it never leaves the core: the normalizer turns it into a Reject
    """A value that does not fit its field."""

    def __init__(self, reason: Reason, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.field = field
        """Filled in by whoever knows which field was read."""


def unscaled(text: str, precision: int, scale: int) -> int:
    """The integer that stands for ``text`` at ``scale``.

    Raises Unfit: NOT_A_DECIMAL, EMPTY, SCALE (digits beyond the scale that
    are not zeros), PRECISION (more than ``precision`` digits in all, counted
    at the scale, as Flink and Java count them).
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        if not text:
            raise Unfit(Reason.EMPTY, "is empty text")
        raise Unfit(Reason.NOT_A_DECIMAL, f"is not a decimal: {shown(text)}")
    sign, whole, fraction, exponent_text = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    significant = digits.rstrip("0")
    last_place = len(digits) - len(significant) - len(fraction) + _exponent(exponent_text)
    if last_place < -scale:
        raise Unfit(Reason.SCALE, f"has more than {scale} digits after the point: {shown(text)}")
    if len(significant) + last_place + scale > precision:
        raise Unfit(Reason.PRECISION, f"has more than {precision} digits at scale {scale}: {shown(text)}")
    value = int(significant) * 10 ** (last_place + scale)
    return -value if sign else value


def _exponent(text: str) -> int:
    digits = text.lstrip("+-").lstrip("0")
    if len(digits) > _MAX_EXPONENT_DIGITS:
        digits = "9" * (_MAX_EXPONENT_DIGITS + 4)  # more than any frame has digits to make up for it
    return -int(digits or "0") if text.startswith("-") else int(digits or "0")


def shown(text: str) -> str:
    """Text from outside as it may stand in a message: quoted, escaped, cut."""
    return ascii(text if len(text) <= 40 else text[:40] + "…")


def long_bytes(value: int) -> bytes:
    """Avro's variable-length zigzag encoding of an int or long."""
    value = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decimal_bytes(value: int) -> bytes:
    """Avro's encoding of an unscaled decimal in ``bytes``: its length, then big-endian two's complement.

    The fewest bytes, as fastavro counts them: for negative powers of 256 halved
    (-128, -32768 …) that is one more than Java writes, and the same number.
    """
    length = (value.bit_length() >> 3) + 1
    return long_bytes(length) + value.to_bytes(length, "big", signed=True)


class DecimalTable(dict[str, bytes]):
    """Text to its Avro bytes: ``table[text]``.

    Remembers what it made, as many values hardly ever change; bounded in
    entries and in the length of each, and simply emptied when full.
    Raises Unfit, as ``unscaled`` does.
    """

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__()
        self._precision = precision
        self._scale = scale

    def __missing__(self, text: str) -> bytes:
        encoded = decimal_bytes(unscaled(text, self._precision, self._scale))
        if len(text) <= _TABLE_TEXT_LIMIT:
            if len(self) >= _TABLE_LIMIT:
                self.clear()
            self[text] = encoded
        return encoded
