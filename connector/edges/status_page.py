"""The status page: plain HTML that refreshes itself, for whoever is called at night. No script, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from connector.core.diagnosis import diagnosis, missing_now
from connector.core.happenings import GapFound, QualityFound
from connector.core.process_status import SocketStatus, Status, age_ms, why_not_ready
from connector.core.told_groups import Group
from connector.edges.telemetry import Logged, Telemetry

REFRESH_S = 2
OLD_AFTER_MS = 5_000
_STREAMS_SHOWN = 3

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2330;
  background: #fbfbfa }
h1 { font-size: 1.25rem; margin: 0 0 .2rem } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem }
.state { display: inline-block; padding: .1rem .6rem; border-radius: .8rem; font-weight: 600 }
.good { background: #d7f0dd; color: #14532d } .bad { background: #fbdcd8; color: #7f1d1d }
.cause { font-size: 1.05rem; font-weight: 600; margin: .6rem 0; overflow-wrap: anywhere }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .6rem; margin: 1rem 0 }
.figures div { background: #fff; border: 1px solid #e3e5e8; border-radius: .4rem; padding: .5rem .7rem }
.figures b { display: block; font-size: 1.15rem; font-variant-numeric: tabular-nums } .quiet { color: #667085 }
.table { overflow-x: auto } table { border-collapse: collapse; width: 100%; background: #fff }
th, td { text-align: left; padding: .25rem .6rem; border: 1px solid #e3e5e8; vertical-align: top }
th { font-weight: 600; background: #f3f4f6 } td.number { text-align: right; font-variant-numeric: tabular-nums }
td { overflow-wrap: anywhere }
@media (min-width: 60rem) { td:not(:last-child) { overflow-wrap: break-word; max-width: 18rem } }
.old { background: #fdf1d6 }
.symbols { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .2rem }
.symbols span { background: #fff; border: 1px solid #e3e5e8; padding: .1rem .5rem; display: flex;
  justify-content: space-between; font-variant-numeric: tabular-nums } .symbols .old { background: #fdf1d6 }
"""


def status_page(status: Status, telemetry: Telemetry) -> str:
    """The whole page."""
    problems = [telemetry.clean(reason) for reason in why_not_ready(status)]
    verdict = '<span class="state good">ready</span>' if not problems else '<span class="state bad">not ready</span>'
    body = [
        f"<h1>{escape(status.topic)} {verdict}</h1>",
        f'<p class="quiet">{escape(status.replica)} · {escape(status.role)} · version {escape(status.version)} · '
        f"up {_duration(status.now_ms - status.started_at_ms)} · {_utc(status.now_ms / 1000)}</p>",
        f'<p class="cause" id="cause">{escape(telemetry.clean(diagnosis(status)))}</p>',
        "".join(f'<p class="state bad">{escape(problem)}</p>' for problem in problems),
        _figures(status, telemetry),
        "<h2>Connections</h2>",
        _connections(status, telemetry),
        "<h2>Kafka</h2>",
        _kafka(status, telemetry),
        "<h2>Journal</h2>",
        _journal(status, telemetry),
        "<h2>Missing now</h2>",
        _missing(status, telemetry),
        "<h2>Last gaps</h2>",
        _past(telemetry.recent(GapFound), "No gap in the ledger since the start, which holds those that are over."),
        "<h2>Last rejects</h2>",
        _rejects(telemetry.rejects()),
        "<h2>Last findings about quality</h2>",
        _past(telemetry.recent(QualityFound), "None since the start."),
        "<h2>Last warnings</h2>",
        _warnings(telemetry.notable()),
        "<h2>Newest tick in the topic, by symbol</h2>",
        _symbols(status),
        '<p class="quiet"><a href="/metrics">metrics</a> · <a href="/readyz">readyz</a> · '
        '<a href="/livez">livez</a></p>',
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(status.topic)}: {'not ' if problems else ''}ready</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>"
    )


def _figures(status: Status, telemetry: Telemetry) -> str:
    rates = telemetry.rates()
    figures = (
        ("role", status.role),
        ("feed", status.feed_state),
        ("newest tick received", _age(status, status.feed_event_time_ms)),
        ("newest tick in the topic", _age(status, status.topic_event_time_ms)),
        ("event time against arrival", _ahead(status.feed_ahead_ms)),
        ("frames in", f"{rates.frames:,.1f} /s"),
        ("bytes in", f"{rates.bytes / 1024:,.1f} KiB/s"),
        ("ticks written", f"{rates.ticks:,.1f} /s"),
        ("dead letters written", f"{rates.dead_letters:,.2f} /s"),
        ("rejects", f"{rates.rejects:,.2f} /s"),
    )
    cells = (
        f'<div id="{_id(name)}"><span class="quiet">{name}</span><b>{escape(text)}</b></div>' for name, text in figures
    )
    return f'<div class="figures">{"".join(cells)}</div>'


def _connections(status: Status, telemetry: Telemetry) -> str:
    rows = [
        (
            socket.connection,
            socket.state,
            _since(status, socket.since_ms),
            _age(status, socket.event_time_ms),
            f"{socket.frames:,}",
            _end(socket.last_end, socket.next_attempt_ms, telemetry),
            telemetry.clean(_address(socket)),
        )
        for socket in status.sockets
    ]
    rest = status.rest
    if rest is not None:
        brought_at_ms = rest.newest_at_ms
        newest = "none yet" if brought_at_ms is None else f"came {_duration(status.now_ms - brought_at_ms)} ago"
        end = _end(rest.last_end, rest.next_attempt_ms, telemetry)
        since = _since(status, rest.since_ms)
        rows.append(("rest", rest.state, since, newest, f"{rest.frames:,}", end, telemetry.clean(rest.url)))
    if not rows:
        return '<p class="quiet">None.</p>'
    return _table(("connection", "state", "since", "newest tick", "frames", "last end", "address"), rows)


def _address(socket: SocketStatus) -> str:
    """With the streams that are not in it: there may be hundreds."""
    url = socket.url.partition("?")[0]
    return " ".join((url, *(stream for stream in socket.streams[:_STREAMS_SHOWN] if stream not in url)))


def _kafka(status: Status, telemetry: Telemetry) -> str:
    kafka = status.kafka
    if not kafka.servers:
        return '<p class="quiet">Another sink is in its place.</p>'
    problem = f"{_utc((kafka.problem_at_ms or 0) / 1000)}: {telemetry.clean(kafka.problem)}" if kafka.problem else "–"
    committed = "none by this replica yet" if kafka.committed_at_ms is None else _age(status, kafka.committed_at_ms)
    return _table(
        ("bootstrap servers", "last answer", "last commit", "last error"),
        [(telemetry.clean(kafka.servers), _age(status, kafka.answered_at_ms), committed, problem)],
    )


def _journal(status: Status, telemetry: Telemetry) -> str:
    share = status.journal_bytes / status.journal_max_bytes if status.journal_max_bytes else 0.0
    problem = telemetry.clean(status.journal_problem) if status.journal_problem else ""
    held = f" Held on purpose: {telemetry.clean(status.kafka.held_back)}." if status.kafka.held_back else ""
    lost = f" {status.dropped_frames:,} were given up at its bound." if status.dropped_frames else ""
    text = (
        f'<p id="journal">{status.journal_frames:,} frames wait for the topic, '
        f"{status.journal_bytes / 1048576:,.1f} MiB, {share:.1%} of the bound.{escape(held)}{lost}</p>"
    )
    return text + (f'<p class="state bad">{escape(problem)}</p>' if problem else "")


def _missing(status: Status, telemetry: Telemetry) -> str:
    found = missing_now(status)
    if not found:
        return '<p class="quiet">Nothing.</p>'
    return "".join(f'<p class="state bad">{escape(telemetry.clean(each))}</p>' for each in found)


def _past(lines: Sequence[Logged], none: str) -> str:
    if not lines:
        return f'<p class="quiet">{none}</p>'
    names = list(dict.fromkeys(name for line in lines for name in line.fields))
    return _table(
        ("time", *(name.replace("_", " ").removesuffix(" ms") for name in names)),
        [(_utc(line.at_s), *(_value(name, line.fields.get(name, "")) for name in names)) for line in lines],
    )


def _rejects(groups: Sequence[Group[Logged]]) -> str:
    if not groups:
        return '<p class="quiet">No reject since the start.</p>'
    rows = [
        (
            str(each.last.fields["reason"]),
            str(each.last.fields["field"]),
            ", ".join(each.names),
            *_span(each),
            str(each.last.fields["detail"]),
            str(each.last.fields["sample"]),
        )
        for each in groups
    ]
    return _table(("reason", "field", "symbols", "first", "since", "last", "times", "detail", "sample"), rows)


def _warnings(groups: Sequence[Group[Logged]]) -> str:
    if not groups:
        return '<p class="quiet">No warning since the start.</p>'
    rows = [
        (
            each.last.event,
            *_span(each),
            ", ".join(f"{name}={_value(name, value)}" for name, value in each.last.fields.items()),
        )
        for each in groups
    ]
    return _table(("event", "first", "since", "last", "times", "the last one"), rows)


def _span(group: Group[Logged]) -> tuple[str, str, str, str]:
    """``since``: without a pause of a minute."""
    return _utc(group.first_at_s), _utc(group.since_s), _utc(group.last_at_s), f"{group.times:,}"


def _symbols(status: Status) -> str:
    if not status.symbols:
        return '<p class="quiet">None yet.</p>'
    cells = (
        f'<span class="{"old" if age_ms(status, event_time_ms) > OLD_AFTER_MS else ""}">'
        f"{escape(symbol)}<i>{_age(status, event_time_ms)}</i></span>"
        for symbol, event_time_ms in sorted(status.symbols)
    )
    return f'<div class="symbols">{"".join(cells)}</div>'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table><tr>{heads}</tr>{"".join(lines)}</table></div>'


def _value(name: str, value: object) -> str:
    if name.endswith("_ms") and isinstance(value, int) and value > 10**12:
        return _utc(value / 1000)
    return str(value)


def _age(status: Status, event_time_ms: int | None) -> str:
    if event_time_ms is None:
        return "none yet"
    passed_ms = age_ms(status, event_time_ms)
    return f"{_duration(passed_ms)} ago" if passed_ms >= 0 else f"{_duration(-passed_ms)} ahead of our clock"


def _since(status: Status, since_ms: int) -> str:
    return f"{_utc((status.now_ms - since_ms) / 1000)} ({_duration(since_ms)})"


def _end(last_end: str, next_attempt_ms: int | None, telemetry: Telemetry) -> str:
    again = f"; next attempt {_utc(next_attempt_ms / 1000)}" if next_attempt_ms is not None else ""
    return f"{telemetry.clean(last_end) or '–'}{again}"


def _ahead(ahead_ms: int | None) -> str:
    """With its sign: a clock that is off is to be seen on whichever side it is."""
    return "none yet" if ahead_ms is None else f"{ahead_ms / 1000:+,.2f} s"


def _duration(duration_ms: int) -> str:
    seconds = max(0, duration_ms) / 1000
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _utc(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _id(name: str) -> str:
    return name.replace(" ", "-")
