"""The options as a whole: every source, every problem, nothing secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.commands.options_page import options_page
from connector.config import OPTIONS, Config, Loaded, load_config
from connector.core.errors import ConfigurationError

MINIMAL = ("kafka.bootstrap.servers=broker:9092", "registry.url=http://registry:8081/apis/ccompat/v7")


def load(*overrides: str, toml: str = "", environ: dict[str, str] | None = None, folder: Path | None = None) -> Loaded:
    path = None
    if folder is not None:
        path = folder / "connector.toml"
        path.write_text(toml, encoding="utf-8")
    return load_config(path, environ or {}, (*MINIMAL, *overrides))


def problems(*overrides: str, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(*overrides, environ=environ)
    return caught.value.problems


def problem(*overrides: str, environ: dict[str, str] | None = None) -> str:
    (only,) = problems(*overrides, environ=environ)
    return only


def file_problem(folder: Path, toml: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(toml=toml, folder=folder, environ=environ)
    (only,) = caught.value.problems
    return only


# Sources


def test_the_documented_names_alone_are_enough(tmp_path: Path) -> None:
    toml = """
        [feed]
        url = "ws://127.0.0.1:9001"
        rest_url = "http://127.0.0.1:9002"
        [topic]
        name = "a.topic"
        [kafka]
        "bootstrap.servers" = "127.0.0.1:9092"
        [registry]
        url = "http://127.0.0.1:8081/apis/ccompat/v7"
        [journal]
        path = "/tmp/journal"
        [http]
        host = "127.0.0.1"
        port = 9400
    """
    path = tmp_path / "connector.toml"
    path.write_text(toml, encoding="utf-8")
    config = load_config(path).config
    assert config.feed.url == "ws://127.0.0.1:9001"
    assert config.kafka["bootstrap.servers"] == "127.0.0.1:9092"
    assert config.transactional_id == "a.topic"
    assert config.topics == ("a.topic", "a.topic.events", "a.topic.dlq")
    assert config.latest_topic is None


def test_the_later_source_wins(tmp_path: Path) -> None:
    toml = "[feed]\nconnections = 3\nhold = 1\nsilence_timeout = 20.0"
    environ = {"BKS_FEED__CONNECTIONS": "4", "BKS_FEED__HOLD": "2"}
    loaded = load("feed.connections=5", toml=toml, environ=environ, folder=tmp_path)
    assert loaded.config.feed.connections == 5
    assert loaded.config.feed.hold == 2.0
    assert loaded.config.feed.silence_timeout == 20.0
    assert loaded.config.feed.trailing_timeout == 3.0
    source = {each.key: each.source for each in loaded.shown()}
    assert source["feed.connections"] == "--set"
    assert source["feed.hold"] == "environment BKS_FEED__HOLD"
    assert source["feed.silence_timeout"] == str(tmp_path / "connector.toml")
    assert source["feed.trailing_timeout"] == "default"


def test_text_is_read_by_the_type_of_its_option() -> None:
    config = load(
        "feed.symbols=BTCUSD, ETHUSD",
        "topic.create=false",
        "topic.partitions=12",
        "schema.id=7",
        "schema.events_id=8",
        "latest.enabled=false",
        "feed.hold=1",
        "topic.name=123",
        "log.format=json",
        environ={"BKS_SCHEMA__ID": "null"},
    ).config
    assert config.feed.symbols == ("BTCUSD", "ETHUSD")
    assert config.topic.create is False
    assert config.topic.partitions == 12
    assert config.schema.id == 7
    assert config.schema.events_id == 8
    assert config.feed.hold == 1.0
    assert config.topic.name == "123"
    assert config.log.format == "json"
    assert load('feed.symbols=["BTCUSD"]').config.feed.symbols == ("BTCUSD",)
    assert load("feed.symbols=").config.feed.symbols == ()


def test_properties_are_passed_through_however_they_are_written(tmp_path: Path) -> None:
    toml = """
        [kafka]
        "linger.ms" = 5
        compression.type = "zstd"
        [registry]
        basic.auth.user.info = "user:hunter2"
        [topic.config]
        "min.insync.replicas" = 2
    """
    environ = {"BKS_KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "BKS_TOPIC__CONFIG__SEGMENT_MS": "1000"}
    config = load('kafka."client.id"=a=b', "registry.timeout=2.5", toml=toml, environ=environ, folder=tmp_path).config
    assert dict(config.kafka) == {
        "linger.ms": 5,
        "compression.type": "zstd",
        "security.protocol": "SASL_SSL",
        "bootstrap.servers": "broker:9092",
        "client.id": "a=b",
    }
    assert config.registry["basic.auth.user.info"] == "user:hunter2"
    assert config.registry["timeout"] == 2.5
    assert dict(config.topic.config) == {"min.insync.replicas": 2, "segment.ms": 1000}


def test_secrets_stay_text() -> None:
    environ = {"BKS_KAFKA__SASL_PASSWORD": "0123", "BKS_REGISTRY__BEARER_AUTH_TOKEN": "true"}
    config = load(environ=environ).config
    assert config.kafka["sasl.password"] == "0123"
    assert config.registry["bearer.auth.token"] == "true"


def test_the_transactional_id_may_be_named() -> None:
    assert load("kafka.transactional.id=mine").config.transactional_id == "mine"


def test_topics_may_be_named() -> None:
    config = load("topic.name=t", "topic.dlq=d", "topic.events=e", "latest.enabled=true").config
    assert config.topics == ("t", "e", "d", "t.latest")


# References


def test_references_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n", encoding="utf-8")
    toml = f"""
        [kafka]
        "sasl.password" = "${{file:{tmp_path}/secret}}"
        "client.id" = "replica-${{POD}}"
        "client.rack" = "$${{POD}}"
        [http]
        port = "${{PORT}}"
    """
    loaded = load(toml=toml, environ={"POD": "3", "PORT": "9999"}, folder=tmp_path)
    assert loaded.config.kafka["sasl.password"] == "hunter2"
    assert loaded.config.kafka["client.id"] == "replica-3"
    assert loaded.config.kafka["client.rack"] == "${POD}"
    assert loaded.config.http.port == 9999


def test_references_that_lead_nowhere(tmp_path: Path) -> None:
    assert file_problem(tmp_path, '[log]\nlevel = "${LEVEL}"') == (
        f"log.level: ${{LEVEL}} names an environment variable that is not set (from {tmp_path}/connector.toml)"
    )
    assert "${file:/no/such} cannot be read: No such file" in file_problem(
        tmp_path, '[kafka]\n"sasl.password" = "${file:/no/such}"'
    )
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    assert "/empty} is empty" in file_problem(tmp_path, f'[kafka]\n"sasl.password" = "${{file:{tmp_path}/empty}}"')
    assert "is not UTF-8 text" in file_problem(tmp_path, f'[topic]\nname = "${{file:{tmp_path}/binary}}"')


def test_the_environment_and_overrides_are_taken_as_they_are() -> None:
    config = load("kafka.client.id=${A}", environ={"BKS_KAFKA__SASL_PASSWORD": "${B}"}).config
    assert config.kafka["client.id"] == "${A}"
    assert config.kafka["sasl.password"] == "${B}"


# Problems


def test_every_problem_at_once_each_with_its_source(tmp_path: Path) -> None:
    path = tmp_path / "connector.toml"
    path.write_text('[fedd]\nurl = "x"\n[feed]\nconnections = "two"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, {"BKS_HTTP__PORT": "70000"}, ["log.level=loud", "kafka.acks=1"])
    assert caught.value.problems == (
        f'fedd.url: no such option; did you mean "feed.url"? (from {path})',
        f"feed.connections: expected whole number at least 1, at most 8, not text (from {path})",
        "http.port: expected whole number at least 0, at most 65535, not 70000 (from environment BKS_HTTP__PORT)",
        'log.level: expected "debug" or "info" or "warning" or "error", not text (loud) (from --set)',
        'kafka."acks": not to be set: a record counts as written when all in-sync replicas have it',
        'kafka."bootstrap.servers": required: the brokers as host:port, parted by commas',
        "registry.url: required, unless schema.id and schema.events_id pin the ids",
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("feed.conections=2", 'feed.conections: no such option; did you mean "feed.connections"? (from --set)'),
        ("port=1", 'port: no such option; did you mean "http.port"? (from --set)'),
        ("transactional.id=x", 'did you mean kafka."transactional.id"? (from --set)'),
        ("topic.sasl.password=x", 'did you mean kafka."sasl.password"? (from --set)'),
        ("basic.auth.user.info=x", 'did you mean registry."basic.auth.user.info"? (from --set)'),
        ("ssl.ca.location=x", 'did you mean kafka."ssl.ca.location" or registry."ssl.ca.location"? (from --set)'),
        ("kafaka.acks=1", "kafaka.acks: no such option; did you mean kafka.acks? (from --set)"),
        ("kafaka.linger.ms=1", 'did you mean kafka."linger.ms"? (from --set)'),
        ("nothing.like.it=1", "nothing.like.it: no such option (from --set)"),
        ("feed.url.more=1", 'feed.url.more: no such option; did you mean "feed.url"? (from --set)'),
        ("feed=1", "feed: is a table, not text (from --set)"),
        ("kafka=1", "kafka: is a table, not text (from --set)"),
        ("feed.connections", "--set feed.connections: write it as --set a.b=value"),
        ("=1", "--set : write it as --set a.b=value"),
        ("a b=1", "--set a b: write it as --set a.b=value"),
        ("feed.connections=9", "at most 8, not 9"),
        ("feed.connections=2.0", "not a number (2.0)"),
        ("feed.connections=true", "not a boolean (True)"),
        ("feed.first_tick_timeout=0", "feed.first_tick_timeout: expected number more than 0"),
        ("feed.first_tick_timeout=inf", "feed.first_tick_timeout: inf is no number to work with"),
        ("feed.hold=nan", "feed.hold: nan is no number to work with"),
        ("feed.rest_fill=yes", "feed.rest_fill: expected true or false, not text"),
        (
            "feed.rotate_after=90000",
            "feed.rotate_after: expected number more than 0, at most 86100, not 90000",
        ),
        (
            "feed.event_time_behind=1e9",
            "feed.event_time_behind: expected number more than 0, at most 86400, not 1000000000.0",
        ),
        ("feed.rotate_at=25:00", "feed.rotate_at: expected text in the form HH:MM, not text"),
        ("schema.id=0", "schema.id: expected whole number or null at least 1"),
        ("topic.partitions=six", "topic.partitions: expected whole number or null at least 1"),
        ("journal.at_bound=stop", 'journal.at_bound: expected "drop-oldest" or "drop-newest", not text (stop)'),
    ],
)
def test_problems_of_single_options(override: str, words: str) -> None:
    assert words in problem(override)


def test_wrong_types_in_the_file(tmp_path: Path) -> None:
    assert "http.port: expected whole number" in file_problem(tmp_path, '[http]\nport = "9400"')
    assert "feed.symbols: expected list of text, not a list" in file_problem(tmp_path, "[feed]\nsymbols = [1]")
    assert "feed: is a table, not a whole number" in file_problem(tmp_path, "feed = 1")
    assert "kafka.brokers: expected text, number, or true or false, not a list" in file_problem(
        tmp_path, "[kafka]\nbrokers = []"
    )
    assert "topic.name: expected text, not date" in file_problem(tmp_path, "[topic]\nname = 2026-01-01")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "not a TOML file" in file_problem(tmp_path, "[feed")
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_a_mistyped_environment_variable() -> None:
    words = problem(environ={"BKS_FEED__REST_URLL": "x", "BKS_CONFIG": "/a/file", "PATH": "/bin"})
    assert (
        words == 'feed.rest_urll: no such option; did you mean "feed.rest_url"? (from environment BKS_FEED__REST_URLL)'
    )


def test_an_environment_variable_with_too_few_underscores() -> None:
    words = problem(environ={"BKS_KAFKA_BOOTSTRAP_SERVERS": "x:1"})
    assert "two underscores part a table from its option, as in BKS_FEED__URL" in words


def test_what_a_command_does_not_need_may_be_missing() -> None:
    assert load_config(needs=()).config == Config()
    with pytest.raises(ConfigurationError, match=r'^kafka\."bootstrap.servers": required'):
        load_config(needs={"kafka"})
    assert load_config(overrides=["schema.id=1", "schema.events_id=2"], needs={"registry"}).config.schema.id == 1


# Secrets

PLANTED = "hunter2"


def secrets_everywhere(folder: Path) -> Loaded:
    (folder / "secret").write_text(PLANTED, encoding="utf-8")
    toml = f"""
        [feed]
        proxy = "http://user:{PLANTED}@proxy:3128"
        [kafka]
        "sasl.password" = "{PLANTED}"
        "sasl.oauthbearer.client.secret" = "{PLANTED}"
        "ssl.key.password" = "{PLANTED}"
        "ssl.key.pem" = "{PLANTED}"
        "client.rack" = "${{file:{folder}/secret}}"
        [registry]
        url = "http://user:{PLANTED}@registry/path"
        "basic.auth.user.info" = "user:{PLANTED}"
        "bearer.auth.token" = "{PLANTED}"
    """
    path = folder / "connector.toml"
    path.write_text(toml, encoding="utf-8")
    environ = {"BKS_REGISTRY__SSL_KEY_PASSWORD": PLANTED}
    return load_config(path, environ, ["kafka.bootstrap.servers=h:1", f"kafka.sasl.jaas.config={PLANTED}"])


def test_no_secret_is_shown(tmp_path: Path) -> None:
    loaded = secrets_everywhere(tmp_path)
    shown = {each.key: each.value for each in loaded.shown()}
    assert PLANTED not in str(shown)
    assert shown["registry.url"] == "http://********@registry/path"
    assert loaded.config.kafka["client.rack"] == PLANTED


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    loaded = secrets_everywhere(tmp_path)
    assert PLANTED not in repr(loaded.config)
    assert PLANTED not in repr(loaded)
    assert PLANTED not in repr(loaded.config.kafka)
    assert PLANTED not in str(loaded.config.registry)
    assert PLANTED not in repr(loaded.config.feed)


@pytest.mark.parametrize(
    "override",
    [
        f"http.port={PLANTED}",
        f"feed.connections={PLANTED}",
        f"sasl.password={PLANTED}",
        f"kafak.sasl.password={PLANTED}",
        f"feed.url=wss://user:{PLANTED}@host",
        f"feed.rest_url=https://user:{PLANTED}@host",
        f"feed.proxy=ftp://user:{PLANTED}@host",
        f"feed.rotate_at={PLANTED}",
        f"registry.url=ftp://user:{PLANTED}@host",
        f"kafka.bootstrap.servers=user:{PLANTED}@host:1",
    ],
)
def test_no_secret_is_in_a_problem(override: str) -> None:
    assert PLANTED not in problem(override)


def test_no_secret_is_in_a_problem_with_a_reference(tmp_path: Path) -> None:
    assert PLANTED not in file_problem(tmp_path, '[log]\nlevel = "${SECRET}"', {"SECRET": PLANTED})


# The table


def test_every_option_says_what_it_is_for() -> None:
    assert all(option.help.endswith(".") for option in OPTIONS)


def test_every_default_holds_its_own_bounds() -> None:
    for option in OPTIONS:
        if option.default is not None and not option.passes_through:
            value = ",".join(option.default) if isinstance(option.default, tuple) else str(option.default)
            load(f"{option.key}={value.lower() if isinstance(option.default, bool) else value}")


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[1] / "docs" / "options.md"
    assert page.read_text(encoding="utf-8") == options_page(), "make docs"
