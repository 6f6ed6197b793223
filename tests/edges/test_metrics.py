from pathlib import Path

from prometheus_client import generate_latest

from connector.commands.metrics_page import metrics_page
from connector.edges.metrics import PREFIX, Metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics_page(), "make docs"


def test_every_metric_stands_in_the_table() -> None:
    metrics = Metrics()
    families = {family.name for family in metrics.registry.collect() if family.name.startswith(PREFIX)}
    assert families == {line.name.removesuffix("_total") for line in metrics.lines}
    assert all(line.help.endswith(".") for line in metrics.lines)


def test_two_connectors_can_run_in_one_process() -> None:
    one, other = Metrics(), Metrics()
    one.takeovers.inc()
    assert other.registry.get_sample_value(f"{PREFIX}_takeovers_total") == 0


def test_the_process_and_the_reasons_of_rejects_are_there_from_the_start() -> None:
    page = generate_latest(Metrics().registry).decode()
    assert "process_resident_memory_bytes" in page
    assert f'{PREFIX}_rejects_total{{reason="not a decimal"}} 0.0' in page
    assert "_created" not in page
