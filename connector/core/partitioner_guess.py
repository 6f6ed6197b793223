"""The two ways in which clients choose a key's partition, told apart by where keys really are."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Partitioner(StrEnum):
    MURMUR2 = "murmur2"
    """Java's, so that of Kafka Streams, ksqlDB, Flink and Connect."""
    CRC32 = "CRC32"
    """The default of librdkafka: clients in Python, Go, .NET, C and C++."""
    NEITHER = "neither"
    UNTOLD = "untold"
    """No keys, or all of them where both would put them."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What the keys of a topic tell."""

    partitioner: Partitioner
    keys: int
    murmur2: int
    """Keys that are where murmur2 puts them."""
    crc32: int
    moving: tuple[bytes, ...]
    """Keys that were found in more than one partition."""


def murmur2_partition(key: bytes, partitions: int) -> int:
    """Java's default partition of a key."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def crc32_partition(key: bytes, partitions: int) -> int:
    """The partition that librdkafka gives a key where nobody asked for another partitioner."""
    return zlib.crc32(key) % partitions


def placement(found: Iterable[tuple[bytes, int]], partitions: int) -> Placement:
    """By the distinct keys and the partitions that records with them were found in.

    Either one explains all keys, or it is not the one: some keys land on the
    same partition under both, so a share of matches proves nothing.
    """
    by_key: dict[bytes, set[int]] = {}
    for key, partition in found:
        by_key.setdefault(key, set()).add(partition)
    murmur2 = _explained(by_key, murmur2_partition, partitions)
    crc32 = _explained(by_key, crc32_partition, partitions)
    moving = tuple(sorted(key for key, places in by_key.items() if len(places) > 1))
    every = len(by_key)
    if murmur2 == crc32 == every:
        kind = Partitioner.UNTOLD
    elif murmur2 == every:
        kind = Partitioner.MURMUR2
    elif crc32 == every:
        kind = Partitioner.CRC32
    else:
        kind = Partitioner.NEITHER
    return Placement(kind, every, murmur2, crc32, moving)


def _explained(by_key: Mapping[bytes, set[int]], choose: Callable[[bytes, int], int], partitions: int) -> int:
    return sum(places == {choose(key, partitions)} for key, places in by_key.items())


_M = 0x5BD1E995
_SEED = 0x9747B28C
_32_BITS = 0xFFFFFFFF


def _murmur2(data: bytes) -> int:
    """MurmurHash2 of 32 bits with Kafka's seed; little-endian words."""
    whole = len(data) & ~3
    state = _SEED ^ len(data)
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _32_BITS
        word = (word ^ word >> 24) * _M & _32_BITS
        state = (state * _M & _32_BITS) ^ word
    if whole < len(data):
        state = (state ^ int.from_bytes(data[whole:], "little")) * _M & _32_BITS
    state = (state ^ state >> 13) * _M & _32_BITS
    return state ^ state >> 15
