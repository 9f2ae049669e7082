"""A form with one file, read as it comes: nothing is kept in memory beyond a piece, nothing goes to a disk.

The framework's own reader spools files to a temporary directory, unsealed.
"""

from __future__ import annotations

from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from core.errors import InvalidInput
from core.file_names import Described, media_type, safe_name

FIELDS = 20
FIELD_BYTES = 64 * 1024


class FormFile:
    """Takes the pieces of a body and gives those of its one file; `told` is set once the file has begun."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
            raise InvalidInput("The form has no boundary.")
        self.told: Described | None = None
        self._found: list[bytes] = []
        self._in_file = False
        self._ended = False
        self._parts = 0
        self._other = 0
        self._name, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._bytes,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, piece: bytes) -> list[bytes]:
        """What of the file is in this piece.

        Raises:
            InvalidInput: not a form, too many parts, a second file, or a field that is too long.

        """
        self._found = []
        try:
            self._parser.write(piece)
        except FormParserError:
            raise InvalidInput("The form is malformed.") from None
        return self._found

    def finish(self) -> Described:
        """What the form said of its file.

        Raises:
            InvalidInput: it broke off, or held none.

        """
        if not self._ended:
            raise InvalidInput("The form breaks off.")
        if self.told is None:
            raise InvalidInput("The form holds no file: a part with a filename.")
        return self.told

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > FIELDS:
            raise InvalidInput(f"The form has more than {FIELDS} parts.")
        self._in_file, self._headers, self._name, self._value = False, {}, b"", b""

    def _header_name(self, piece: bytes, start: int, end: int) -> None:
        self._name += piece[start:end]

    def _header_value(self, piece: bytes, start: int, end: int) -> None:
        self._value += piece[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"filename" not in options:
            return
        if self.told is not None:
            raise InvalidInput("The form holds more than one file.")
        kind = self._headers.get(b"content-type", b"").decode("latin-1")
        self.told = Described(safe_name(options[b"filename"].decode(errors="replace")), media_type(kind))
        self._in_file = True

    def _bytes(self, piece: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._found.append(piece[start:end])
            return
        self._other += end - start
        if self._other > FIELD_BYTES:
            raise InvalidInput(f"The form's fields beside the file hold more than {FIELD_BYTES} bytes.")

    def _end(self) -> None:
        self._ended = True
