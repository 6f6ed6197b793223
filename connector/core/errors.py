"""Every error this project raises on purpose, named for what happens next.

::

    ConnectorError
    ├── ConfigurationError   the operator must change something; the process ends (exit code 2)
    │   └── SchemaFileError  a schema file cannot be used; names the file and the field
    ├── FatalError           nothing that this process does will help; it ends (exit code 4)
    └── RetryableError       the other side may come back; whoever catches it waits and tries again

Input from the exchange never raises: what cannot become a record is a
:class:`~connector.core.values.Reject`. Any other exception is a bug of ours
and ends the process (exit code 1).
"""

from __future__ import annotations


class ConnectorError(Exception):
    """Base of all. ``str()`` of it is one message that says what is wrong and what to do."""


class ConfigurationError(ConnectorError):
    """What was configured cannot work. Carries every problem found, not only the first."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class SchemaFileError(ConfigurationError):
    """A schema file that cannot declare a stream."""

    def __init__(self, file: str, field: str | None, problem: str) -> None:
        self.file = file
        self.field = field
        where = f"{file}: field {field!r}" if field else file
        super().__init__(f"{where}: {problem}")


class FatalError(ConnectorError):
    """The other side refuses for good."""


class RetryableError(ConnectorError):
    """The other side does not answer, or not yet."""
