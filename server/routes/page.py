"""GET / and its assets: the web page, plain files of server/page."""

from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from server.errors import Refusal
from server.state import Serving

PAGE = Path(__file__).parent.parent / "page"
ASSETS = {"page.js": "text/javascript", "page.css": "text/css"}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html", media_type="text/html")


@router.get("/page/kernels.png")
async def kernels(serving: Serving) -> Response:
    """The first layer's kernels of the first model."""
    batcher = next(iter(serving.batchers.values()))
    return Response(batcher.model.members[0].file.card.kernels, media_type="image/png")


@router.get("/page/{name}")
async def asset(name: str) -> FileResponse:
    """One of the page's own files; names outside the list do not exist."""
    if name not in ASSETS:
        raise Refusal(HTTPStatus.NOT_FOUND, "not_found", f"no such file {name!r}")
    return FileResponse(PAGE / name, media_type=ASSETS[name])
