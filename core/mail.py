"""E-mail: plain text over the operator's SMTP server, within a deadline, with TLS unless told otherwise."""

from __future__ import annotations

import contextlib
import io
import re
import smtplib
import socket
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from core.errors import CrontalkError

# Less than RFC 5321 allows: nothing quoted, nothing that a header or a server could read as more.
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
FINAL = range(500, 600)
# How an encoded word (RFC 2047) begins. `email` decodes those it is given, even to the end of a header.
ENCODED = "=?"


class MailFailed(CrontalkError):
    """The mail was not taken. `code` is static and content-free; `final`: another try gives the same."""

    def __init__(self, code: str, *, final: bool = False) -> None:
        super().__init__(f"The mail was not taken ({code}).")
        self.code = code
        self.final = final


@dataclass(frozen=True)
class MailServer:
    """The operator's SMTP server. `smtp` insists on STARTTLS; `smtp+plain` speaks without TLS."""

    scheme: str
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> MailServer:
        """`smtp://user:password@host:587`, `smtps://…`, `smtp+plain://…`.

        Raises:
            ValueError: something else; the sentence does not repeat it.

        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host is None or parts.scheme not in PORTS or parts.path.strip("/") or parts.query:
            raise ValueError("must be smtp://user:password@host:587, smtps://… or smtp+plain://…")
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.scheme, host, port or PORTS[parts.scheme], user, password)


def is_address(words: str) -> bool:
    """Whether this is one plain address, without a name or anything a header could be made of."""
    short = len(words) <= 254 and len(words.partition("@")[0]) <= 64
    return short and ENCODED not in words and bool(_ADDRESS.fullmatch(words))


def compose(
    delivery_id: uuid.UUID, *, sender: str, recipient: str, at: datetime, subject: str, text: str
) -> EmailMessage:
    """The message. Its id is the delivery's, so that a repetition can be told from news."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject.replace(ENCODED, "= ?")
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{delivery_id}@{sender.partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, cte="quoted-printable")
    return message


def send_mail(
    server: MailServer, sender: str, recipient: str, message: EmailMessage, within: timedelta
) -> None:
    """Hands the message to the server.

    Raises:
        MailFailed: it was not taken; or, if the connection broke at the very end, nobody knows.

    """
    end = time.monotonic() + within.total_seconds()
    try:
        with contextlib.closing(_connected(server, sender.partition("@")[2], end)) as smtp:
            if server.scheme == "smtp":
                smtp.starttls(context=ssl.create_default_context())
            if server.user is not None:
                smtp.login(server.user, server.password or "")
            smtp.send_message(message, sender, [recipient])
            # It was taken; how the server says good-bye changes nothing.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                smtp.quit()
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise _failure(error, late=time.monotonic() >= end - 0.05) from None


def _failure(error: Exception, *, late: bool) -> MailFailed:
    """The static code of what went wrong. smtplib calls a wait that ended a lost connection."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = next(iter(error.recipients.values()))[0]
        return MailFailed(f"smtp_{code}", final=code in FINAL)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return MailFailed("smtp_auth")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return MailFailed("smtp_unsupported")
    if isinstance(error, smtplib.SMTPResponseException) and 200 <= error.smtp_code < 600:
        return MailFailed(f"smtp_{error.smtp_code}")
    if isinstance(error, ssl.SSLError):
        return MailFailed("tls")
    return MailFailed("deadline" if late or isinstance(error, TimeoutError) else "connect")


class _Replies(io.RawIOBase):
    """What a server says, byte for byte within the deadline: a time-out of smtplib's counts anew for each."""

    def __init__(self, sock: socket.socket, hurry: Callable[[], None]) -> None:
        self._sock, self._hurry = sock, hurry

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._hurry()
        return self._sock.recv_into(buffer)


class _Hurried(smtplib.SMTP):
    """An SMTP client whose every wait ends with the deadline."""

    def __init__(self, end: float, **options: Any) -> None:
        self.end = end
        super().__init__(timeout=self._left(), **options)

    def send(self, s: Any) -> None:
        self._hurry()
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and isinstance(self.sock, socket.socket):
            self.file = io.BufferedReader(_Replies(self.sock, self._hurry))
        return super().getreply()

    def _hurry(self) -> None:
        if isinstance(self.sock, socket.socket):
            self.sock.settimeout(self._left())

    def _left(self) -> float:
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _HurriedWithTls(_Hurried, smtplib.SMTP_SSL):
    """The same, with TLS from the first byte."""


def _connected(server: MailServer, own_name: str, end: float) -> smtplib.SMTP:
    # It is told its name: smtplib would ask the resolver, and tell the server what this host is called.
    place = {"host": server.host, "port": server.port, "local_hostname": own_name}
    if server.scheme == "smtps":
        return _HurriedWithTls(end, context=ssl.create_default_context(), **place)
    return _Hurried(end, **place)
