"""A port that was handed out stays ours, server running or not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from connector.core.errors import RetryableError
from connector.local import ports
from connector.local.ports import Ports

OURS = ports._PORTS


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks in another folder keep nobody else away: ports of a range that only these tests use."""
    monkeypatch.setattr(ports, "_PORTS", range(19_000, 19_100))


def test_every_port_is_below_the_ephemeral_range() -> None:
    lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert OURS.stop <= int(lowest)


def test_a_port_can_be_bound(tmp_path: Path) -> None:
    port = Ports(tmp_path).take()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_taken_port_is_not_handed_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_PORTS", range(19_000, 19_020))
    first, second = Ports(tmp_path), Ports(tmp_path)
    taken = [first.take() for _ in range(5)] + [second.take() for _ in range(5)]
    assert len(set(taken)) == 10


def test_a_port_in_use_is_passed_over_and_a_released_one_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Ports(tmp_path)
    only = holder.take()
    holder.release()
    monkeypatch.setattr(ports, "_PORTS", range(only, only + 1))
    with socket.create_server(("127.0.0.1", only)), pytest.raises(RetryableError, match="no free port"):
        Ports(tmp_path).take()
    assert holder.take() == only
    with pytest.raises(RetryableError, match="no free port"):
        Ports(tmp_path).take()
    holder.release()
    assert Ports(tmp_path).take() == only
