"""GET / and its assets: the web page, plain files of server/page."""

from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from tencrop.server.errors import ApiError
from tencrop.server.routes.predict import Model
from tencrop.server.state import State

PAGE = Path(__file__).parent.parent / "page"
MODULES = ("page", "api", "dom", "job", "lock", "models", "predict", "validations", "views", "words")
ASSETS = {**{f"{name}.js": "text/javascript" for name in MODULES}, "page.css": "text/css"}
FRESH = {"Cache-Control": "no-cache"}  # modules of two versions do not fit together
POLICY = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    """The page; its policy lets the browser load nothing from elsewhere and run nothing inline."""
    return FileResponse(
        PAGE / "index.html", media_type="text/html", headers={**FRESH, "Content-Security-Policy": POLICY}
    )


@router.get("/page/kernels.png")
async def kernels(state: State, model: Model = None) -> Response:
    """The first layer's kernels of a model; of an ensemble, its first net's."""
    return Response(state.find_pipeline(model).model.members[0].file.metadata.filter_picture, media_type="image/png")


@router.get("/page/{name}")
async def asset(name: str) -> FileResponse:
    """One of the page's own files; names outside the list do not exist."""
    if name not in ASSETS:
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", f"no such file {name!r}")
    return FileResponse(PAGE / name, media_type=ASSETS[name], headers=FRESH)
