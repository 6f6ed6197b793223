"""Decimals, exact: from the text on the wire to the bytes in Avro, or a reason why not.

The venue sends decimals as text. What is accepted is
``-?[0-9]+(\\.[0-9]+)?`` in ASCII, and the same with an exponent; Python's own
``int`` and ``Decimal`` accept more (``1_000``, ``" 5 "``, Arabic digits), and
a float would not be exact. Nothing is ever rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from connector.core.values import Reason

_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_MAX_EXPONENT_DIGITS = 6
"""Beyond it a number that is not zero fits no decimal: refused before anything of that size is made."""
_REMEMBERED = 1024
_LOOKED_FOR_REPEATS_EVERY = 64
"""Columns of a field whose values never came again; to look costs a tenth of writing."""
_SHORTEST_COLUMN = 4
"""Below it, checking texts one by one is as fast."""
_LONGEST_EXACT = 16
"""Characters: with the point, fifteen digits. Without one they are an integer, and exact where it is below 2**53."""
_EXACT_BITS = 53
_NOT_IN_A_COLUMN = "- \t\n\r"
"""JSON takes spaces beside a number, and what is negative is written one by one."""
_read_integers: Callable[[str], list[int]] = msgspec.json.Decoder(list[int], strict=False).decode
"""Not strict: an integer may be written with point and exponent."""


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
    digits = text.replace(".", "", 1)
    if 0 < scale < len(digits) <= precision and text[-scale - 1] == "." and digits.isascii() and digits.isdecimal():
        return int(digits)  # as the venue writes it; all below is for what else there may be
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
    value = int(significant + "0" * (last_place + scale))
    return -value if sign else value


def _exponent(text: str) -> int:
    digits = text.lstrip("+-").lstrip("0")
    if len(digits) > _MAX_EXPONENT_DIGITS:
        digits = "9" * (_MAX_EXPONENT_DIGITS + 4)  # more than any frame has digits to make up for it
    return -int(digits or "0") if text.startswith("-") else int(digits or "0")


def exact_decimal(value: int, scale: int) -> Decimal:
    """An unscaled decimal as fastavro takes it."""
    return Decimal(f"{value}E-{scale}")


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


def decimal_writer(precision: int, scale: int) -> Callable[[str], bytes]:
    """Text to the Avro bytes of ``decimal(precision, scale)``; the writer raises Unfit, as ``unscaled`` does."""

    def write(text: str) -> bytes:
        return decimal_bytes(unscaled(text, precision, scale))

    return write


class DecimalColumn:
    """Writes one field of many elements at once, with the same outcome as ``decimal_writer`` for each.

    Decimals are the greater part of a record's cost, hence two short cuts.
    Texts of the last columns are remembered, as some values hardly ever change.
    And where all texts are numbers as the venue writes them, msgspec reads them
    in one call, in units of the last place: ``0.05`` as ``0.05e8``, an integer.
    It takes such a number through a double, which is exact for what is let
    through: integers below 2**53, and at most fifteen digits with a point. With
    so few, a digit beyond the scale still leaves a fraction, which is refused.
    """

    def __init__(self, precision: int, scale: int) -> None:
        self._write = decimal_writer(precision, scale)
        self._exponent = f"e{scale}"
        # By the number's bits: its length in bytes as a number before it, so that one to_bytes writes both.
        # The length is zigzag, hence doubled. A number of that many bits has no more digits than the precision.
        lengths = [(bits >> 3) + 1 for bits in range(min((10**precision).bit_length(), _EXACT_BITS + 1))]
        self._length_before = [2 * length << 8 * length for length in lengths]
        self._bytes_in_all = [1 + length for length in lengths]
        self._remembered: dict[str, bytes] = {}
        self._columns = 0

    def __call__(self, column: Sequence[str]) -> list[bytes]:
        """The Avro bytes of each text, in order. Raises Unfit where one of them does not fit."""
        if remembered := self._remembered:
            try:
                return [remembered[text] for text in column]
            except KeyError:
                pass
        encoded = self._together(column) or list(map(self._write, column))
        if self._columns % _LOOKED_FOR_REPEATS_EVERY == 0 or remembered:
            self._remember(column, encoded)
        self._columns += 1
        return encoded

    def _together(self, column: Sequence[str]) -> list[bytes] | None:
        """None where they are to be written one by one."""
        if len(column) < _SHORTEST_COLUMN or max(map(len, column)) > _LONGEST_EXACT:
            return None
        numbers = f"{self._exponent},".join(column) + self._exponent
        if any(map(numbers.__contains__, _NOT_IN_A_COLUMN)):
            return None
        before, in_all = self._length_before, self._bytes_in_all
        try:
            values = _read_integers(f"[{numbers}]")
            encoded = [(value + before[bits := value.bit_length()]).to_bytes(in_all[bits]) for value in values]
        except (msgspec.MsgspecError, UnicodeEncodeError, IndexError):
            return None
        # Each text is one number at least, so where there are as many numbers as texts, none is more ("1e8,2").
        return encoded if len(encoded) == len(column) else None

    def _remember(self, column: Sequence[str], encoded: list[bytes]) -> None:
        """Where many elements share a value, it will come again; prices will not."""
        fresh = dict(zip(column, encoded, strict=True))
        if len(fresh) * 2 > len(column):
            return
        remembered = self._remembered
        if len(remembered) + len(fresh) > _REMEMBERED:
            remembered.clear()
        if len(fresh) <= _REMEMBERED:
            remembered.update(fresh)
