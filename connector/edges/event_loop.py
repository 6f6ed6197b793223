"""The event loop of the commands: asyncio's own, but for how names are looked up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """As ``asyncio.run``; a name service that does not answer holds its end up by nothing."""
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(work)


class EventLoop(asyncio.SelectorEventLoop):
    """Looks each name up on a daemon thread.

    asyncio's own threads for it are waited for when the loop is closed, and again when the interpreter ends: where
    the resolver times out, that is half a minute and more in which accepted frames are not delivered.
    """

    async def getaddrinfo(self, host: Any, port: Any, **how: Any) -> Any:
        found: asyncio.Future[Any] = self.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if found.done():
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(result)

        def look_up() -> None:
            result, problem = None, None
            try:
                result = socket.getaddrinfo(host, port, **how)
            except (OSError, UnicodeError) as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.call_soon_threadsafe(settle, result, problem)

        threading.Thread(target=look_up, name=f"look up {host!r}", daemon=True).start()
        return await found
