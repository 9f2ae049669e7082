"""A receiver of webhooks on raw sockets, as kind or as hostile as a test wants, with and without TLS."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


Reply = bytes | Callable[["Conversation"], None]


def status(code: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} Because", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


class Conversation:
    """One connection, for replies that are more than bytes."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.sock = sock
        self.stopping = stopping

    def drip(self, first: bytes, forever: bytes = b"x", pause: float = 0.05) -> None:
        """Sends a beginning, then a little without end."""
        self.sock.sendall(first)
        while not self.stopping.wait(pause):
            self.sock.sendall(forever)

    def hang(self) -> None:
        self.stopping.wait(30)


class HookServer:
    """Listens on 127.0.0.1. `replies` are used up one by one; then everything is answered 200.

    `before_request` is what happens instead of reading; with a certificate it speaks TLS.
    """

    def __init__(self, certificate: Path | None = None, before_request: Reply | None = None) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.replies: deque[Reply] = deque()
        self.before_request = before_request
        self._stopping = threading.Event()
        self._tls = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listener.close()

    def url(self, path: str = "/in") -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}{path}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=[sock], daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(30)
            if self.before_request is not None:
                self._reply(sock, self.before_request)
                return
            if self._tls is None:
                self._answer(sock)
                return
            with self._tls.wrap_socket(sock, server_side=True) as secure:
                self._answer(secure)

    def _answer(self, sock: socket.socket) -> None:
        self.asked.append(self._read(sock))
        self._reply(sock, self.replies.popleft() if self.replies else OK)

    def _reply(self, sock: socket.socket, reply: Reply) -> None:
        if isinstance(reply, bytes):
            sock.sendall(reply)
        else:
            reply(Conversation(sock, self._stopping))

    def _read(self, sock: socket.socket) -> Asked:
        stream = sock.makefile("rb")
        line = stream.readline().decode().strip()
        headers = {}
        while (read := stream.readline().decode("latin-1").strip()) != "":
            name, _, value = read.partition(":")
            headers[name.lower()] = value.strip()
        return Asked(line, headers, stream.read(int(headers.get("content-length", "0"))))


def a_certificate(directory: Path, *names: str) -> Path:
    """A self-signed certificate with its key, for these names and addresses; its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    subjects: list[x509.GeneralName] = []
    for one in names:
        try:
            subjects.append(x509.IPAddress(ipaddress.ip_address(one)))
        except ValueError:
            subjects.append(x509.DNSName(one))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(subjects), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    place = directory / f"{names[0]}.pem"
    place.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return place
