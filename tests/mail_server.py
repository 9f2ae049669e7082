"""A small SMTP server on raw sockets: takes mail, refuses it, or does neither; with STARTTLS where it can."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass
class Mail:
    """What was said about one message, and the message."""

    encrypted: bool
    login: str | None = None
    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    raw: bytes = b""


class MailServer:
    """Listens on 127.0.0.1. `replies` maps the beginning of a command to the answer it gets instead."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.mails: list[Mail] = []
        self.replies: dict[str, str] = {}
        self.silent = False
        self.dripping = False
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

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[sock], daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(30)
            if self.silent:
                self._stopping.wait(30)
                return
            while self.dripping and not self._stopping.wait(0.05):
                sock.sendall(b"2")
            self._talk(sock)

    def _talk(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as opened:
            self._converse(sock, opened)

    def _converse(self, sock: socket.socket, opened: contextlib.ExitStack) -> None:
        mail = Mail(encrypted=False)
        stream = sock.makefile("rwb", buffering=0)
        stream.write(b"220 mail.example\r\n")
        while line := stream.readline().decode().strip():
            verb = line.upper().split(" ")[0]
            told = next(
                (reply for begin, reply in self.replies.items() if line.upper().startswith(begin)), None
            )
            if told is not None:
                stream.write(told.encode() + b"\r\n")
            elif verb == "STARTTLS" and self._tls:
                stream.write(b"220 go on\r\n")
                sock = opened.enter_context(self._tls.wrap_socket(sock, server_side=True))
                stream, mail = sock.makefile("rwb", buffering=0), Mail(encrypted=True)
            elif verb == "DATA":
                stream.write(b"354 go on\r\n")
                while (part := stream.readline()) != b".\r\n":
                    mail.raw += part
                self.mails.append(mail)
                stream.write(b"250 taken\r\n")
            elif verb == "QUIT":
                stream.write(b"221 bye\r\n")
                return
            else:
                stream.write(self._answer(line, verb, mail))

    def _answer(self, line: str, verb: str, mail: Mail) -> bytes:
        if verb == "EHLO":
            offers = [
                "mail.example",
                "AUTH PLAIN",
                *(["STARTTLS"] if self._tls and not mail.encrypted else []),
            ]
            return "".join(
                f"250{' ' if offer is offers[-1] else '-'}{offer}\r\n" for offer in offers
            ).encode()
        if verb == "AUTH":
            mail.login = line.split(" ")[2]
            return b"235 welcome\r\n"
        if verb == "MAIL":
            mail.sender = line.partition("<")[2].partition(">")[0]
        if verb == "RCPT":
            mail.recipients.append(line.partition("<")[2].partition(">")[0])
        return b"250 fine\r\n"
