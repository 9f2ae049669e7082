"""What the pages are dressed in and moved by: our own style sheet, script and icon, and two vendored files.

An address holds a digest of what is behind it, so a browser may keep it for good and still gets the next one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.rendering import FOLDER, TEMPLATES
from core.errors import NotFound

router = APIRouter(prefix="/assets")

KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FILES = ("crontalk.css", "dashboard.js", "icon.svg", "vendor/htmx.min.js", "vendor/pico.min.css")
FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    content: bytes
    media_type: str


def _read(file: str) -> tuple[str, str, Asset]:
    """The name a template knows it by, the one in its address, and what it is."""
    content = (FOLDER / file).read_bytes()
    name = file.rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    digest = hashlib.sha256(content).hexdigest()[:16]
    return name, f"{stem}.{digest}.{ending}", Asset(content, KINDS[ending])


_READ = [_read(file) for file in FILES]
ASSETS = {address: asset for _, address, asset in _READ}
PLACES = {name: f"{router.prefix}/{address}" for name, address, _ in _READ}

TEMPLATES.globals["asset"] = PLACES.__getitem__


@router.get("/{name}")
async def send(name: str) -> Response:
    found = ASSETS.get(name)
    if found is None:
        raise NotFound("There is nothing at this address.")
    return Response(found.content, media_type=found.media_type, headers={"Cache-Control": FOR_GOOD})
