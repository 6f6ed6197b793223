from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from connector.edges.kafka_partition import partition_of
from tests.judge import java_partition


@given(st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=20), st.integers(1, 64))
def test_the_partition_is_javas(key: str, partitions: int) -> None:
    assert partition_of(key.encode(), partitions) == java_partition(key.encode(), partitions)
