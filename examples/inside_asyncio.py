"""The connector inside a program that has an event loop of its own: to Kafka, as configured.

    python examples/inside_asyncio.py connector.toml 10

runs it for so many seconds, beside whatever else the program does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from connector.embedding import Source, load_config, why_not_ready


async def main(config_file: Path, seconds: float) -> int:
    source = Source(load_config(config_file).config)
    await source.start()  # raises ConfigurationError, with what to do, where it cannot start
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(source.wait(), other_work(source))
    except TimeoutError:
        pass
    return await source.stop()  # 0: everything received is in the topic


async def other_work(source: Source) -> None:
    """Stands for the rest of the program."""
    while True:
        await asyncio.sleep(1)
        status = source.status()
        problems = ", ".join(why_not_ready(status)) or "ready"
        print(f"{status.role}, {status.feed_state}, {len(status.symbols)} symbols in the topic: {problems}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]))))
