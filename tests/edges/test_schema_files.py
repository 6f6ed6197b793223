"""Schema files found by name or path, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.core.errors import ConfigurationError, SchemaFileError
from connector.core.normalize import Normalizer
from connector.core.values import Frame
from connector.edges import schema_files
from connector.edges.schema_files import bundled_folder, bundled_names, find_schema_file, load_schema

SAMPLES = Path(__file__).parent.parent / "samples"


def test_a_bundled_schema_is_found_by_its_name() -> None:
    schema = load_schema("asset_index")
    assert schema.fullname == "binance.usdm.AssetIndex"
    assert schema.file == str(bundled_folder() / "asset_index.avsc")


def test_the_bundled_names() -> None:
    assert "asset_index" in bundled_names()


def test_a_schema_is_found_by_its_path() -> None:
    path = SAMPLES / "other_streams" / "mark_price.avsc"
    assert load_schema(str(path)).name == "MarkPrice"


def test_a_relative_path_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.avsc").write_text((SAMPLES / "other_streams" / "mark_price.avsc").read_text())
    monkeypatch.chdir(tmp_path)
    assert load_schema("mine.avsc").name == "MarkPrice"


def test_an_installed_package_has_its_schemas_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "connector"
    (package / "schemas").mkdir(parents=True)
    (package / "schemas" / "only.avsc").write_text("{}")
    monkeypatch.setattr(schema_files, "_PACKAGE", package)
    assert bundled_names() == ("only",)
    assert find_schema_file("only") == package / "schemas" / "only.avsc"


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(SchemaFileError, match=r"asset_indx: is no bundled schema \(there are: asset_index") as caught:
        load_schema("asset_indx")
    assert isinstance(caught.value, ConfigurationError)


def test_a_path_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(SchemaFileError, match=r"gone\.avsc: there is no such file"):
        load_schema(str(tmp_path / "gone.avsc"))


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.avsc"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(SchemaFileError, match=r"binary\.avsc: cannot be read"):
        load_schema(str(path))


def test_a_schema_that_declares_no_stream() -> None:
    with pytest.raises(SchemaFileError, match=r'feed_event\.avsc: the record has no "feed" object'):
        load_schema("feed_event")


def streams() -> list[str]:
    return [name for name in bundled_names() if '"feed":' in find_schema_file(name).read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", streams())
def test_every_bundled_stream_has_a_sample_that_fits_it(name: str) -> None:
    """A new stream is one schema file, and one sample: ``tests/samples/<name>.jsonl``, a frame a line."""
    normalizer = Normalizer(load_schema(name), ahead_ms=None, behind_ms=None)
    for line in (SAMPLES / f"{name}.jsonl").read_bytes().splitlines():
        normalized = normalizer.normalize(Frame(line, 0, "ws-1", name))
        assert normalized.ticks
        assert (normalized.rejects, normalized.unknown_fields) == ((), frozenset())
