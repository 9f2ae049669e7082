"""As much of S3 as content needs, in memory; signatures are not checked."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 3  # objects a listing shows at once, so that a test sees it go on


class S3Server:
    """Listens on 127.0.0.1; `objects` are what is stored, by bucket and key; `failing` answers 503."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.signed: set[bool] = set()
        self.failing = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def reply(self, status: int, body: bytes = b"", kind: str = "application/xml") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", kind)
                self.send_header("ETag", '"e"')
                self.send_header("Last-Modified", "Fri, 20 Nov 2026 17:00:00 GMT")
                self.end_headers()
                self.wfile.write(body)

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                address = urlsplit(self.path)
                key, query = (
                    unquote(address.path).lstrip("/"),
                    parse_qs(address.query, keep_blank_values=True),
                )
                server.signed.add("authorization" in {name.lower() for name in self.headers})
                if server.failing:
                    self.reply(503)
                elif self.command == "PUT":
                    server.objects[key] = body
                    self.reply(200)
                elif self.command == "POST" and "delete" in query:
                    self.reply(200, server.delete_many(key, body.decode()))
                elif self.command == "DELETE":
                    server.objects.pop(key, None)
                    self.reply(204)
                elif "list-type" in query:
                    self.reply(200, server.listed(key, query))
                elif key in server.objects:
                    self.reply(200, server.objects[key], "application/octet-stream")
                else:
                    self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")

            do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 (the names the library calls)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def delete_many(self, bucket: str, body: str) -> bytes:
        keys = re.findall("<Key>(.*?)</Key>", body)
        for key in keys:
            self.objects.pop(f"{bucket.rstrip('/')}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return f"<DeleteResult>{deleted}</DeleteResult>".encode()

    def listed(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        place = bucket.rstrip("/") + "/"
        keys = [key.removeprefix(place) for key in sorted(self.objects) if key.startswith(place)]
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        found = [key for key in keys if key.startswith(prefix) and key > after]
        page = found[:PAGE]
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-20T17:00:00.000Z</LastModified>"
            f"<ETag>e</ETag><Size>1</Size></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if found[PAGE:] else ""
        truncated = "true" if more else "false"
        return (
            f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{items}</ListBucketResult>"
        ).encode()
