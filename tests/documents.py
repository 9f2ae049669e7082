"""PDF and Word files for tests, written by hand: good ones and bombs."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from itertools import pairwise

import docx
from pypdf import PdfReader, PdfWriter

PART = "word/document.xml"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
HTML = """<html><head><title>No</title><style>p {}</style></head><body><nav>menu</nav>
<h1>Manual</h1><p>It   is
easy.</p><h2>Setup &amp; <b>care</b></h2><ul><li>Plug in</li><li>Turn on<br>and wait</li></ul>
<table><tr><td>a</td><td>b</td></tr></table><pre>x = 1
y = 2</pre><script>steal()</script><img src="http://192.0.2.1/x.png"></body></html>"""


def a_pdf(*pages: Sequence[str], stream: bytes | None = None) -> bytes:
    """Pages of lines; or with one raw stream of drawing instead."""
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for at, lines in enumerate(pages):
        box = "/MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R {box} /Contents {5 + 2 * at} 0 R >>".encode())
        shown = b"".join(b"(" + line.encode("latin-1") + b") Tj T*\n" for line in lines)
        drawn = zlib.compress(stream or b"BT /F1 12 Tf 72 720 Td 14 TL\n" + shown + b"ET")
        head = f"<< /Length {len(drawn)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + drawn + b"\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + one + b"\nendobj\n"
    table = b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    return (
        out
        + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
        + table
        + f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF".encode()
    )


def a_locked_pdf(user: str, owner: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(a_pdf(["Locked words."]))))
    writer.encrypt(user, owner, algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def a_docx(body: bytes | None = None, **more: bytes) -> bytes:
    """A Word file with headings and a table; or with another body, or more members."""
    document = docx.Document()
    document.add_heading("Manual", 0)
    document.add_heading("Setup", 1)
    document.add_paragraph("Plug it in.")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    document.add_heading("Care", 2)
    document.add_paragraph("Wipe it.")
    out = io.BytesIO()
    document.save(out)
    if body is None and not more:
        return out.getvalue()
    changed = io.BytesIO()
    with zipfile.ZipFile(out) as source, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, body if body is not None and name == PART else source.read(name))
        for name, content in more.items():
            target.writestr(name, content)
    return changed.getvalue()


def a_word_body(said: str, entities: str = "") -> bytes:
    head = f'<?xml version="1.0"?><!DOCTYPE d [{entities}]>' if entities else ""
    text = f"<w:p><w:r><w:t>{said}</w:t></w:r></w:p>"
    return f'{head}<w:document xmlns:w="{WORD}"><w:body>{text}</w:body></w:document>'.encode()


def a_billion_laughs() -> bytes:
    names = "abcdefghijkl"
    entities = '<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in pairwise(names)
    )
    return a_docx(a_word_body("&l;", entities))
