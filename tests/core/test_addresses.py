from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.addresses import (
    MAX_STREAMS,
    MAX_TARGET_CHARS,
    check_base_url,
    check_proxy,
    check_rest_url,
    stream_addresses,
)
from connector.core.errors import ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        "wss://fstream.binance.com",
        "wss://fstream.binance.com/",
        "ws://127.0.0.1:8080",
        "wss://gateway.internal/binance/futures",
        "ws://[::1]:9000/~a",
    ],
)
def test_a_base_is_accepted(url: str) -> None:
    check_base_url(url)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("wss://fstream.binance.com/ws", "wss://fstream.binance.com"),
        ("wss://fstream.binance.com/ws/!assetIndex@arr", "wss://fstream.binance.com"),
        ("wss://fstream.binance.com/stream", "wss://fstream.binance.com"),
        ("wss://demo-fstream.binance.com/market", "wss://demo-fstream.binance.com"),
        ("wss://fstream.binance.com/market/ws/", "wss://fstream.binance.com"),
        ("wss://gateway.internal:8443/binance/market/stream", "wss://gateway.internal:8443/binance"),
        ("wss://fstream.binance.com/private", "wss://fstream.binance.com"),
    ],
)
def test_a_route_is_refused_with_what_to_write_instead(url: str, base: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(url)
    assert f'feed.url = "{base}"' in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fstream.binance.com",
        "https://fstream.binance.com",
        "wss://",
        "wss://host:notaport",
        "wss://host:99999",
        "wss://host?streams=x",
        "wss://user@host",
        "wss://[::1",
        "wss://fstream..binance.com",
        f"wss://{'a' * 64}.com",
        "wss://xn--a.com",
    ],
)
def test_what_is_no_base_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"feed\.url"):
        check_base_url(url)


def test_the_rest_base() -> None:
    check_rest_url("https://fapi.binance.com")
    check_rest_url("http://127.0.0.1:8080/~a")
    with pytest.raises(ConfigurationError, match=r'feed\.rest_url = "https://fapi\.binance\.com"'):
        check_rest_url("https://fapi.binance.com/fapi/v1/assetIndex")
    with pytest.raises(ConfigurationError, match=r"feed\.rest_url"):
        check_rest_url("wss://fapi.binance.com")


def test_the_proxy() -> None:
    check_proxy("")
    check_proxy("http://user:word@proxy.internal:3128")
    with pytest.raises(ConfigurationError, match=r"feed\.proxy"):
        check_proxy("socks5://proxy.internal:1080")


def test_all_symbols_are_one_raw_stream() -> None:
    (address,) = stream_addresses("wss://host/", "market", ["!assetIndex@arr"], combined=False)
    assert address.url == "wss://host/market/ws/!assetIndex@arr"
    assert address.streams == ("!assetIndex@arr",)


def test_chosen_symbols_are_one_combined_address() -> None:
    streams = ["btcusd@assetIndex", "ethusd@assetIndex"]
    (address,) = stream_addresses("ws://host:1/prefix", "market", streams, combined=True)
    assert address.url == "ws://host:1/prefix/market/stream?streams=btcusd@assetIndex/ethusd@assetIndex"


def test_symbols_outside_ascii_are_quoted() -> None:
    (address,) = stream_addresses("ws://host", "market", ["币安usd@assetIndex"], combined=True)
    assert address.url.isascii()
    assert parse_qs(urlsplit(address.url).query)["streams"] == ["币安usd@assetIndex"]


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1, max_size=3000))
def test_every_stream_is_in_exactly_one_address_within_the_limits(streams: list[str]) -> None:
    addresses = stream_addresses("wss://fstream.binance.com", "market", streams, combined=True)
    assert [stream for address in addresses for stream in address.streams] == streams
    for address in addresses:
        assert 1 <= len(address.streams) <= MAX_STREAMS
        assert len(address.url) <= MAX_TARGET_CHARS


def test_many_streams_are_split() -> None:
    streams = [f"asset{number}usd@assetIndex" for number in range(2000)]
    assert len(stream_addresses("wss://host", "market", streams, combined=True)) > 2
    short = ["x"] * 1500
    assert [len(each.streams) for each in stream_addresses("wss://host", "m", short, combined=True)] == [1024, 476]
