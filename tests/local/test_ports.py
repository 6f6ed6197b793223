"""A port that was handed out stays ours, server running or not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from connector.core.errors import RetryableError
from connector.local import ports
from connector.local.ports import Ports


def test_a_port_can_be_bound_and_is_below_the_ephemeral_range(tmp_path: Path) -> None:
    port = Ports(tmp_path).take()
    lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert port < int(lowest)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_taken_port_is_not_handed_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_PORTS", range(20_000, 20_020))
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
