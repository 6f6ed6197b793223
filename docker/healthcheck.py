"""The image's health check: exit code 0 where ``/livez`` answers 200.

The port is that of the configuration: of ``BKS_HTTP__PORT``, or of ``[http] port`` in the file that ``BKS_CONFIG``
names. The connector is not imported: this runs every 15 s.
"""

import http.client
import os
import sys
import tomllib
from pathlib import Path


def port() -> int:
    """As ``run`` was told it."""
    file = Path(os.environ.get("BKS_CONFIG", ""))
    told = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    return int(os.environ.get("BKS_HTTP__PORT") or told.get("http", {}).get("port", 9400))


def main() -> None:
    """Ask, show the answer, and end."""
    connection = http.client.HTTPConnection("127.0.0.1", port(), timeout=4)
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        print(answer.read().decode("utf-8", "replace").strip())
        sys.exit(answer.status != http.client.OK)
    except OSError as error:
        sys.exit(f"no answer from /livez: {error}")


if __name__ == "__main__":
    main()
