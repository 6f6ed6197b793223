"""A broker with TLS, passwords and rights, and a registry behind TLS and a password: certificates made on the fly."""

from __future__ import annotations

import base64
import datetime
import http.client
import ipaddress
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connector.local.stack import LocalStack

LISTENER = "SECURE"
REGISTRY_USER = "registry-user:registry-secret"
LOGIN_AGAIN_S = 2.0

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """A private authority, and what it signed for 127.0.0.1."""

    authority: Path
    server: Path
    """Key and chain in one PEM file, as broker and registry take it."""


def make_certificates(folder: Path) -> Certificates:
    """An authority of its own, in files."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("test authority", authority_key, "test authority", authority_key, is_authority=True)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _certificate("127.0.0.1", server_key, "test authority", authority_key, is_authority=False)
    pem = serialization.Encoding.PEM
    found = Certificates(folder / "authority.pem", folder / "server.pem")
    found.authority.write_bytes(authority.public_bytes(pem))
    key = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    found.server.write_bytes(key + server.public_bytes(pem) + authority.public_bytes(pem))
    return found


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def password_of(user: str) -> str:
    return f"{user}-secret"


@dataclass(frozen=True, slots=True)
class Right:
    """One right of a principal on one thing."""

    kind: str
    """``TOPIC``, ``TRANSACTIONAL_ID``, ``GROUP`` or ``BROKER`` (the cluster)."""
    name: str
    operation: str
    """As Kafka's tools write it: ``Read``, ``DescribeConfigs`` …"""


class Secured:
    """The stack, within ``with``. By the plain listener everything may be done, by the other what was granted."""

    def __init__(self, folder: Path, users: Iterable[str]) -> None:
        self._exits = ExitStack()
        self.certificates = make_certificates(folder)
        known = " ".join(f'user_{user}="{password_of(user)}"' for user in users)
        prefix = f"listener.name.{LISTENER.lower()}"
        self._stack = LocalStack(
            listeners={LISTENER: "SASL_SSL"},
            properties={
                f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,OAUTHBEARER",
                # Whoever is connected must log in again so often, and is cut off where that fails.
                f"{prefix}.scram-sha-256.connections.max.reauth.ms": str(round(LOGIN_AGAIN_S * 1000)),
                f"{prefix}.scram-sha-256.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                # Takes tokens without a signature.
                f"{prefix}.oauthbearer.sasl.jaas.config": (
                    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
                ),
                f"{prefix}.plain.sasl.jaas.config": (
                    f"org.apache.kafka.common.security.plain.PlainLoginModule required {known};"
                ),
                f"{prefix}.ssl.keystore.type": "PEM",
                f"{prefix}.ssl.keystore.location": str(self.certificates.server),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            },
        )

    def __enter__(self) -> Secured:
        self._exits.enter_context(self._stack)
        self.admin = AdminClient({**self.plain(), "log_level": 0})
        self.registry_url = self._exits.enter_context(
            registry_behind_tls(self._stack.registry_url, self.certificates.server, REGISTRY_USER)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def plain(self) -> dict[str, str | int | float | bool]:
        """The ``[kafka]`` table of somebody who may do everything."""
        return {"bootstrap.servers": self._stack.bootstrap_servers}

    def kafka(self, user: str) -> dict[str, str]:
        """The ``[kafka]`` table of that user."""
        return {**self.secure("PLAIN"), "sasl.username": user, "sasl.password": password_of(user)}

    def secure(self, mechanism: str) -> dict[str, str]:
        """The ``[kafka]`` table of somebody who has yet to say who he is."""
        return {
            "bootstrap.servers": self._stack.kafka.address(LISTENER),
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.certificates.authority),
            "sasl.mechanism": mechanism,
        }

    def set_password(self, user: str, password: str) -> None:
        """Of SCRAM; the one before is refused from the next login on."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        changed = self.admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, info, password.encode())])
        changed[user].result(10)

    def registry(self) -> dict[str, str]:
        """The ``[registry]`` table."""
        return {
            "url": self.registry_url,
            "ssl.ca.location": str(self.certificates.authority),
            "basic.auth.user.info": REGISTRY_USER,
        }

    def grant(self, granted: dict[str, list[Right]]) -> None:
        """Rights by user; in force on return."""
        bindings = [_binding(user, right) for user, rights in granted.items() for right in rights]
        for future in self.admin.create_acls(bindings).values():
            future.result(10)


def _binding(user: str, right: Right) -> AclBinding:
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in right.operation).strip("_")
    return AclBinding(
        ResourceType[right.kind],
        right.name,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[words.upper()],
        AclPermissionType.ALLOW,
    )


@contextmanager
def registry_behind_tls(url: str, certificate: Path, user: str) -> Iterator[str]:
    """The address of a registry that wants TLS and that user, in front of the one at *url*."""
    host, _, path = url.removeprefix("http://").partition("/")
    expected = f"Basic {base64.b64encode(user.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.headers.get("Authorization") != expected:
                self._answer(401, b'{"error_code": 401, "message": "Unauthorized"}', "application/json")
                return
            behind = http.client.HTTPConnection(host, timeout=10)
            headers = {name: value for name, value in self.headers.items() if name in {"Accept", "Content-Type"}}
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            self._answer(answer.status, answer.read(), answer.getheader("Content-Type", ""))
            behind.close()

        do_GET = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 - the names are the server's

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Nothing: clients that do not trust us leave in the middle of the handshake."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="registry-behind-tls", daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/{path}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
