"""The status page of a running connector, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connector.edges.status_page import REFRESH_S
from connector.local.exchange import ExchangeThread
from tests.chaos.replica import Replica
from tests.integration.bench import Bench
from tests.ops.browser import Tab, browser

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

FRAMES = (
    "[...document.querySelector('table').querySelectorAll('tr')]"
    ".filter(row => row.cells[0].innerText.startsWith('ws-'))"
    ".map(row => Number(row.cells[4].innerText.replaceAll(',', '')))"
)

CAUSE = "document.querySelector('#cause').innerText"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def page(tab: Tab, running: Replica) -> Tab:
    tab.open(f"http://127.0.0.1:{running.port}/")
    return tab


def figure(name: str) -> str:
    return f"document.querySelector('#{name} b').innerText"


def below(heading: str) -> str:
    """What stands under a heading."""
    found = f"[...document.querySelectorAll('h2')].find(each => each.innerText === '{heading}')"
    return f"{found}.nextElementSibling.innerText"


def test_it_says_how_the_connector_is(page: Tab, exchange: ExchangeThread) -> None:
    page.wait_for(f"{figure('role')} === 'writer'")
    page.wait_for("document.querySelector('.state').innerText === 'ready'")
    assert page.value(figure("feed")) == "advancing"
    for name in ("newest-tick-received", "newest-tick-in-the-topic"):
        page.wait_for(f"{figure(name)}.endsWith('s ago')")
    assert [row.split("\t")[:2] for row in page.text().splitlines() if row.startswith("ws-")] == [
        ["ws-1", "advancing"],
        ["ws-2", "advancing"],
    ]
    symbols = page.value("[...document.querySelectorAll('.symbols span')].map(each => each.firstChild.textContent)")
    assert len(symbols) == 60
    assert set(symbols) == {element.symbol for element in exchange.truth.elements()}
    assert str(page.value("document.title")).endswith(": ready")
    page.wait_for(f"{CAUSE}.startsWith('Nothing is the matter')")
    assert "127.0.0.1" in str(page.value(below("Kafka")))


def test_it_says_how_much_comes_and_goes(page: Tab) -> None:
    """60 symbols five times a second, over two connections."""
    for name, low, high in (("frames-in", 3.0, 20.0), ("bytes-in", 20.0, 300.0), ("ticks-written", 100.0, 600.0)):
        page.wait_for(f"{low} < parseFloat({figure(name)}) && parseFloat({figure(name)}) < {high}", 40)
    assert page.value(figure("rejects")) == "0.00 /s"


def test_it_shows_the_last_gap_and_the_last_finding(page: Tab, exchange: ExchangeThread) -> None:
    exchange.bad_element({"B": "999999"}, symbol="ETHUSD", periods=5)
    exchange.bad_element({"i": "NaN"}, symbol="BNBUSD", periods=5)
    page.wait_for(f"{below('Last gaps')}.includes('BNBUSD') && {below('Last gaps')}.includes('rejected')")
    finding = below("Last findings about quality")
    page.wait_for(f"{finding}.includes('ETHUSD') && {finding}.includes('disordered')")


def test_a_follower_says_so(tab: Tab, bench: Bench) -> None:
    follower = bench.replica("two", {"kafka": {"client.id": "two"}})
    try:
        follower.wait_until_ready(40)
        tab.open(f"http://127.0.0.1:{follower.port}/")
        tab.wait_for(f"{figure('role')} === 'follower'")
        tab.wait_for(f"{figure('newest-tick-in-the-topic')}.endsWith('s ago')")
        assert "two · follower" in tab.text()
    finally:
        follower.stop()


def test_it_refreshes_itself(page: Tab) -> None:
    before = page.value(FRAMES)
    page.watch(3 * REFRESH_S)
    loads = [each for each in page.events if each.get("method") == "Page.loadEventFired"]
    assert len(loads) >= 2
    # While the page is being replaced it has no rows: asked until it has them.
    page.wait_for(f"{FRAMES}.length === {len(before)} && {FRAMES}.every((each, at) => each > {before}[at])")


def test_it_asks_nobody_else_and_complains_of_nothing(page: Tab, running: Replica) -> None:
    page.watch(REFRESH_S + 1)
    assert page.addresses_asked() == {f"http://127.0.0.1:{running.port}/"}
    assert page.complaints() == []


def test_it_fits_a_narrow_window(tab: Tab, running: Replica) -> None:
    tab.open(f"http://127.0.0.1:{running.port}/", width=480, height=844)
    assert tab.value("document.documentElement.scrollWidth") <= 480


def test_words_without_end_widen_nothing(page: Tab, exchange: ExchangeThread) -> None:
    exchange.bad_element({"i": "9" * 2000, "s": "S" * 2000})
    page.wait_for("document.body.innerText.includes('SSSSSSSSSSSSSSSSSSSSSSSSSS')")
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth")


def test_what_the_exchange_sends_is_text_and_no_markup(page: Tab, exchange: ExchangeThread) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    exchange.bad_element({"i": evil, "s": "BTCUSD"})
    page.wait_for("document.body.innerText.includes('<img src=x')")
    assert page.value("document.images.length + document.scripts.length") == 0
    assert "owned" not in str(page.value("document.title"))
    assert "not a decimal" in str(page.value(below("Last rejects")))


def test_it_shows_that_the_feed_stands_still(page: Tab, exchange: ExchangeThread) -> None:
    exchange.stall()
    exchange.rest_refuse(503)
    try:
        page.wait_for(f"{figure('feed')} !== 'advancing'", 30)
        page.wait_for("document.querySelector('.state').innerText === 'not ready'", 40)
        assert "no tick newer than" in page.text()
        page.wait_for(f"{CAUSE}.startsWith('The exchange: WebSockets') && {CAUSE}.includes('REST brings nothing')", 30)
        assert "Every symbol: no tick newer than" in str(page.value(below("Missing now")))
        assert str(page.value("document.title")).endswith(": not ready")
    finally:
        exchange.clear()
    page.wait_for("document.querySelector('.state').innerText === 'ready'", 60)
