"""The image's health check: exit code 0 where ``/livez`` answers 200. Takes the port from ``BKS_HTTP__PORT``."""

import http.client
import os
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("BKS_HTTP__PORT", "9400")), timeout=4)
try:
    connection.request("GET", "/livez")
    answer = connection.getresponse()
    print(answer.read().decode("utf-8", "replace").strip())
    sys.exit(answer.status != http.client.OK)
except OSError as error:
    sys.exit(f"no answer from /livez: {error}")
