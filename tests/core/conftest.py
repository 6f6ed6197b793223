"""Property tests of the core run without a deadline: the machine may be busy, and time limits are pytest's."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("core", deadline=None)
settings.load_profile("core")
