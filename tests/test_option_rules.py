"""What must hold between the options."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from connector.config import load_config
from connector.core.errors import ConfigurationError
from connector.option_rules import KEPT_PROPERTIES, KEPT_TOPIC_CONFIG, unverified


def problem(*overrides: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_config(overrides=overrides, needs=())
    (only,) = caught.value.problems
    return only


@pytest.mark.parametrize("name", KEPT_PROPERTIES)
def test_properties_that_the_promises_rest_on(name: str) -> None:
    assert problem(f"kafka.{name}=x") == f'kafka."{name}": not to be set: {KEPT_PROPERTIES[name]}'


@pytest.mark.parametrize("name", KEPT_TOPIC_CONFIG)
def test_topic_configuration_that_the_promises_rest_on(name: str) -> None:
    assert problem(f"topic.config.{name}=x") == f'topic.config."{name}": not to be set: {KEPT_TOPIC_CONFIG[name]}'


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("feed.url=https://fstream.binance.com", "feed.url"),
        ("feed.url=wss://", "feed.url"),
        ("feed.url=fstream.binance.com", "feed.url"),
        ("feed.url=wss://fstream.binance.com/ws", "feed.url"),
        ("feed.url=wss://fstream.binance.com/market/stream?streams=x", "feed.url"),
        ("feed.url=wss://fstream.binance.com:port", "feed.url"),
        ("feed.rest_url=wss://fapi.binance.com", "feed.rest_url"),
        ("feed.proxy=proxy:3128", "feed.proxy"),
        ("feed.url=wss://host?api_key=hunter2", "wss://host?********"),
        ("feed.proxy=http://user:hun/ter2@host", "'http://********@host' is no address; write"),
        ("journal.path=", "journal.path: expected the path of a file"),
        ("journal.path=/var/lib/", "journal.path: expected the path of a file"),
        ("journal.path=~/journal", "write the whole path"),
        ("feed.symbols=BTC/USD", "feed.symbols: 'BTC/USD' is no symbol"),
        ("topic.dlq=a b", "topic: 'a b' is no topic name"),
        ("topic.dlq=..", "topic: '..' is no topic name"),
        (f"topic.events={'x' * 250}", "is no topic name"),
        ("topic.events=binance.usdm.asset-index", "different names"),
        ("topic.replication_factor=0", "topic.replication_factor: at least 1"),
        ("topic.retention_ms=0", "topic.retention_ms: more than 0"),
        ("latest.tombstone_after=59.9", "latest.tombstone_after: at least 60 seconds, or 0 for never"),
        ("latest.tombstone_after=-1", "latest.tombstone_after"),
        ("kafka.error_cb=print", "kafka.error_cb: a function cannot be configured"),
        ("kafka.bootstrap.servers=h:0", "'h:0' is no host:port"),
        ("kafka.bootstrap.servers=h:1,,g:2", "'' is no host:port"),
        ("kafka.bootstrap.servers=http://h/path", "is no host:port"),
        ("registry.url=registry:8081", "registry.url: expected http://host or https://host"),
        ("registry.url=", "registry.url: expected http://host or https://host"),
        ("registry.timeout=0", "registry.timeout: expected a number"),
        ("registry.timeout=soon", "registry.timeout: expected a number"),
    ],
)
def test_values_that_cannot_work(override: str, words: str) -> None:
    assert words in problem(override)


@pytest.mark.parametrize(
    "override",
    [
        "feed.url=ws://127.0.0.1:9001",
        "feed.url=wss://gateway.internal/binance",
        "feed.proxy=http://user:password@proxy:3128",
        "feed.symbols=BTCUSD,USD1USD",
        "kafka.bootstrap.servers=one:9092, two:9092,[::1]:9092,10.0.0.1,SASL_SSL://three:9093",
        "registry.url=https://user:password@registry/apis/ccompat/v7,http://other:8081",
    ],
)
def test_values_that_can(override: str) -> None:
    load_config(overrides=[override], needs=())


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_the_least_wait_for_a_tombstone_and_none(seconds: float) -> None:
    loaded = load_config(overrides=[f"latest.tombstone_after={seconds}"], needs=())
    assert loaded.config.latest.tombstone_after == seconds


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["kafka.oauth_cb=a b", "kafka.sasl.mechanism=OAUTHBEARER"], "expected module:function"),
        (["kafka.oauth_cb=a:b"], "nobody asks it for a token"),
        (["kafka.oauth_cb=a:b", "kafka.sasl.mechanism=PLAIN"], "nobody asks it for a token"),
        (
            ["kafka.oauth_cb=a:b", "kafka.sasl.mechanism=OAUTHBEARER", "kafka.sasl.oauthbearer.method=oidc"],
            "librdkafka gets the tokens",
        ),
        (["kafka.error_cb=a:b"], "a function cannot be configured"),
    ],
)
def test_a_function_that_makes_tokens(overrides: list[str], words: str) -> None:
    assert words in problem(*overrides)


@pytest.mark.parametrize("name", ["a.b:c.d", "cloud", "my-cloud"])
def test_names_of_functions_that_make_tokens(name: str) -> None:
    overrides = [f"kafka.oauth_cb={name}", "kafka.sasl.mechanisms=oauthbearer"]
    assert load_config(overrides=overrides, needs=()).config.kafka["oauth_cb"] == name


@pytest.mark.parametrize("value", [False, 0, "false", "FALSE", "0", "f"])
def test_what_librdkafka_takes_for_no_verification(value: object) -> None:
    assert list(unverified({"enable.ssl.certificate.verification": value})) == ["enable.ssl.certificate.verification"]
    Producer({"bootstrap.servers": "127.0.0.1:9", "enable.ssl.certificate.verification": value, "log_level": 0})


def test_verification_that_is_on() -> None:
    assert list(unverified({})) == []
    on = {"enable.ssl.certificate.verification": True, "ssl.endpoint.identification.algorithm": "https"}
    assert list(unverified(on)) == []
    assert list(unverified({"ssl.endpoint.identification.algorithm": "none"})) == [
        "ssl.endpoint.identification.algorithm"
    ]


def test_a_property_that_is_a_slip_of_what_is_required() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config(overrides=["kafka.bootstrap.server=a:1", "registry.ulr=http://a"])
    assert [each.partition(" (given is ")[2] for each in caught.value.problems] == [
        '"bootstrap.server": a slip?)',
        '"ulr": a slip?)',
    ]


@pytest.mark.parametrize("route", ["/subjects", "/schemas/ids/1", "/subjects/a-value/versions"])
def test_a_route_in_the_registrys_address(route: str) -> None:
    words = problem(f"registry.url=http://u:secret@host/apis/ccompat/v7{route}")
    assert f"contains {route}, which the connector adds itself" in words
    assert "secret" not in words
