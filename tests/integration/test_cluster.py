"""The connection to the cluster: TLS verified, the API key sent and never shown."""

import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from worker.cluster import connect
from worker.errors import UnavailableError

SECRET = "c2VjcmV0LWtleQ=="


@dataclass
class Server:
    """A server that speaks as a cluster does, as far as it goes."""

    url: str
    ca: Path
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "ca.pem", directory / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    certificate, key = make_certificate(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            one.headers.append(dict(self.headers.items()))
            body = json.dumps({"status": "green", "error": {"type": "x", "reason": "y"}}).encode()
            self.send_response(one.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody asks."""

    http = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    one = Server(f"https://127.0.0.1:{http.server_address[1]}", certificate)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield one
    http.shutdown()
    http.server_close()
    thread.join()


def test_a_certificate_nobody_vouches_for_is_refused(server: Server) -> None:
    cluster = connect(server.url, api_key=SECRET, timeout_s=5)
    with pytest.raises(UnavailableError, match=r"(?i)certificate") as raised:
        cluster.request("GET", "/_cluster/health")
    assert SECRET not in str(raised.value)
    assert server.headers == []


def test_the_authority_of_the_settings_is_trusted_and_the_key_is_sent(server: Server) -> None:
    cluster = connect(server.url, api_key=SECRET, ca_certs=str(server.ca), timeout_s=5)
    assert cluster.request("GET", "/_cluster/health").body["status"] == "green"
    (headers,) = server.headers
    assert headers["authorization"] == f"ApiKey {SECRET}"
    assert headers["accept"] == "application/json"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_no_fault_of_the_change_and_is_not_shown(
    server: Server, status: int
) -> None:
    server.status = status
    cluster = connect(server.url, api_key=SECRET, ca_certs=str(server.ca), timeout_s=5)
    with pytest.raises(UnavailableError) as raised:
        cluster.request("GET", "/_cluster/health")
    assert "API" in str(raised.value)
    assert SECRET not in str(raised.value)
