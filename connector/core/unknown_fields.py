"""Fields that the exchange sends and the schema does not name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from connector.core.envelope import Payload, classify, is_enveloped
from connector.core.structs import Path

_MOST_NAMES = 32
_LONGEST_NAME = 64
_MOST_LAYOUTS = 1024


class UnknownFields:
    """Finds keys that are on no path; nested ones with dots, but only where the schema itself goes into an object."""

    def __init__(self, paths: tuple[Path, ...], event_type_key: str) -> None:
        self._known = _tree(paths, event_type_key)
        self._keys_per_element = _count(self._known)
        self._by_layout: dict[tuple[int, int], frozenset[str]] = {}

    def of_good_frame(self, data: bytes, elements: int) -> frozenset[str]:
        """Those of a frame whose elements all have every known field.

        Counting colons tells at next to no cost that there are none. Else the
        frame is read once more, and from then on frames with as many elements and
        as many colons are taken to be alike.
        """
        colons = data.count(b":")
        if colons == elements * self._keys_per_element + 2 * is_enveloped(data):
            return frozenset()
        layout = (elements, colons)
        found = self._by_layout.get(layout)
        if found is None:
            message = classify(data)
            found = (
                self.of(element.value for element in message.elements) if isinstance(message, Payload) else frozenset()
            )
            if len(self._by_layout) >= _MOST_LAYOUTS:
                self._by_layout.clear()
            self._by_layout[layout] = found
        return found

    def of(self, elements: Iterable[Any]) -> frozenset[str]:
        """Those of decoded elements; bounded in number and length, for whoever remembers what was told."""
        found: set[str] = set()
        for element in elements:
            if isinstance(element, dict):
                _collect(element, self._known, "", found)
        # A name with half a character (a lone surrogate) can be sent, and can be written nowhere.
        return frozenset(name.encode("utf-8", "replace").decode() for name in sorted(found)[:_MOST_NAMES])


def _tree(paths: tuple[Path, ...], event_type_key: str) -> dict[str, Any]:
    """The known keys; with a nested dict where a key is only the way to others, else None."""
    tree: dict[str, Any] = {event_type_key: None} if event_type_key else {}
    for path in filter(None, paths):
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        branch[path[-1]] = None
    return tree


def _count(tree: dict[str, Any]) -> int:
    return len(tree) + sum(_count(branch) for branch in tree.values() if branch)


def _collect(element: dict[str, Any], known: dict[str, Any], prefix: str, found: set[str]) -> None:
    found.update((prefix + key)[:_LONGEST_NAME] for key in element.keys() - known.keys())
    for key, branch in known.items():
        inner = element.get(key)
        if branch and isinstance(inner, dict):
            _collect(inner, branch, f"{prefix}{key}.", found)
