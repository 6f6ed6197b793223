"""What a batch is to whoever takes ticks from the connector itself."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connector.core.ledger_events import EventKind
from connector.core.pipeline import Batch
from connector.core.tick_sink import Delivery, delivery_of
from connector.core.values import Reason
from tests.core.test_pipeline import SCHEMA, START_MS, Case, element


def test_ticks_have_every_field_in_all_its_digits() -> None:
    batch = Case().add(element("BTCUSD", 0, "86156.14485640"), at_ms=START_MS + 57)
    (tick,) = delivery_of(batch, SCHEMA).ticks
    assert (tick.symbol, tick.event_time_ms) == ("BTCUSD", START_MS)
    assert list(tick.fields) == [spec.name for spec in SCHEMA.fields]
    assert str(tick.fields["index_price"]) == "86156.14485640"
    assert tick.fields["bid_buffer"] == Decimal("0.05")
    assert tick.fields["event_time"] == datetime.fromtimestamp(START_MS / 1000, UTC)
    assert tick.fields["origin"] == "websocket"
    with pytest.raises(TypeError):
        tick.fields["index_price"] = 0  # type: ignore[index]


def test_rejects_and_events_stand_beside_them() -> None:
    batch = Case().add(element("BTCUSD", 0), element("ETHUSD", 0, i="NaN"))
    delivery = delivery_of(batch, SCHEMA)
    assert [tick.symbol for tick in delivery.ticks] == ["BTCUSD"]
    assert [(reject.symbol, reject.reason, reject.field) for reject in delivery.rejects] == [
        ("ETHUSD", Reason.NOT_A_DECIMAL, "index_price")
    ]
    assert [event.kind for event in delivery.events] == [EventKind.STARTED_WITHOUT_HISTORY]
    assert not delivery.empty


def test_of_nothing() -> None:
    delivery = delivery_of(Batch(), SCHEMA)
    assert delivery == Delivery((), (), ())
    assert delivery.empty
