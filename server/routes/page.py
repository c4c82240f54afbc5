"""GET / and its assets: the web page, whose plain files lie in server/page."""

from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from tencrop.server.errors import ApiError
from tencrop.server.hardening_headers import EVERYWHERE, POLICY
from tencrop.server.routes.predict import Model
from tencrop.server.state import State
from tencrop.server.whole_file import WholeFile

PAGE = Path(__file__).parent.parent / "page"
INDEX = (PAGE / "index.html").read_text("utf-8")
MODULES = ("page", "api", "dom", "job", "lock", "models", "predict", "validations", "views", "words")
EXAMPLES = sorted(path.name for path in (PAGE / "examples").iterdir())  # pictures, named by the label they show
ASSETS = {
    **{f"{name}.js": "text/javascript" for name in MODULES},
    "page.css": "text/css",
    **{f"examples/{name}": "image/jpeg" for name in EXAMPLES},
}
FRESH = {"Cache-Control": "no-cache"}  # a browser must not mix the modules of two versions
RULES = f"default-src 'self'; img-src 'self' blob: data:; {EVERYWHERE}"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(state: State) -> HTMLResponse:
    """The page. Its policy lets the browser load nothing from other servers, and run no inline script."""
    html = INDEX.replace('="/page/', f'="{state.settings.root_path}/page/')
    return HTMLResponse(html, headers={**FRESH, POLICY: RULES})


@router.get("/page/kernels.png")
async def kernels(state: State, model: Model = None) -> Response:
    """A picture of the first layer's kernels; of an ensemble, those of its first net."""
    return Response(state.find_pipeline(model).model.members[0].file.metadata.filter_picture, media_type="image/png")


@router.get("/page/{name:path}")
async def asset(name: str) -> WholeFile:
    """One of the page's own files. Raises ApiError 404 for a name outside ASSETS."""
    if name not in ASSETS:
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", f"no such file {name!r}")
    return WholeFile(PAGE / name, media_type=ASSETS[name], headers=FRESH)
