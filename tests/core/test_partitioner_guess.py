"""Telling the two partitioners apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import murmur2
from hypothesis import given
from hypothesis import strategies as st

from connector.core.partitioner_guess import Partitioner, crc32_partition, murmur2_partition, placement
from connector.local.market import symbol_names

KEYS = [name.encode() for name in symbol_names(60)]


@given(st.binary(max_size=40), st.integers(1, 1000))
def test_murmur2_is_what_the_client_library_computes(key: bytes, partitions: int) -> None:
    assert murmur2_partition(key, partitions) == murmur2(key, partitions)


@pytest.mark.parametrize("partitions", [2, 3, 4, 6, 12, 50])
@pytest.mark.parametrize(
    ("choose", "expected"), [(murmur2_partition, Partitioner.MURMUR2), (crc32_partition, Partitioner.CRC32)]
)
def test_each_is_found_although_both_agree_on_some_keys(
    choose: Callable[[bytes, int], int], expected: Partitioner, partitions: int
) -> None:
    found = placement([(key, choose(key, partitions)) for key in KEYS], partitions)
    assert found.partitioner is expected
    assert 0 < min(found.murmur2, found.crc32) < found.keys == len(KEYS), "some keys are where both put them"


def test_a_key_that_both_put_at_the_same_place_proves_nothing() -> None:
    key = b"BTCUSD"
    assert murmur2_partition(key, 6) == crc32_partition(key, 6)
    assert placement([(key, murmur2_partition(key, 6))], 6).partitioner is Partitioner.UNTOLD
    assert placement([], 6).partitioner is Partitioner.UNTOLD
    assert placement([(key, 0) for key in KEYS], 1).partitioner is Partitioner.UNTOLD


def test_neither() -> None:
    found = placement([(key, number % 6) for number, key in enumerate(KEYS)], 6)
    assert found.partitioner is Partitioner.NEITHER
    assert not found.moving


def test_keys_in_more_than_one_partition() -> None:
    found = placement([(b"a", 0), (b"a", 1), (b"b", 2)], 3)
    assert found.moving == (b"a",)
    assert found.partitioner is Partitioner.NEITHER
