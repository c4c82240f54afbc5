"""GET / and its assets: the web page, whose plain files lie in server/page."""

from html import escape
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from tencrop.server.errors import ApiError
from tencrop.server.hardening_headers import EVERYWHERE, POLICY
from tencrop.server.routes.predict import Model
from tencrop.server.state import ServerState, State
from tencrop.server.whole_file import WholeFile

PAGE = Path(__file__).parent.parent / "page"
INDEX = (PAGE / "index.html").read_text("utf-8")
MODULES = sorted(path.name for path in PAGE.glob("*.js"))
EXAMPLES = sorted(path.name for path in (PAGE / "examples").iterdir())  # pictures, named by the label they show
ASSETS = {
    **dict.fromkeys(MODULES, "text/javascript"),
    "page.css": "text/css",
    **{f"examples/{name}": "image/jpeg" for name in EXAMPLES},
}
FRESH = {"Cache-Control": "no-cache"}  # a browser must not mix the modules of two versions
NO_DATA_ROOT = "Off. To measure a model on the data sets in a folder, start the server with --data-root FOLDER."
RULES = f"default-src 'self'; img-src 'self' blob: data:; {EVERYWHERE}"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(state: State) -> HTMLResponse:
    """The page. Its policy lets the browser load nothing from other servers, and run no inline script."""
    html = INDEX.replace('="/', f'="{state.settings.root_path}/').replace("{off}", escape(_explain_off(state)))
    return HTMLResponse(html, headers={**FRESH, POLICY: RULES})


def _explain_off(state: ServerState) -> str:
    """Why the server makes no validations; empty where it does."""
    if state.jobs:
        return ""
    return f"Off: {state.lacking}" if state.lacking else NO_DATA_ROOT


@router.get("/page/kernels.png")
async def kernels(state: State, model: Model = None) -> Response:
    """A picture of the first layer's kernels; of an ensemble, those of its first net."""
    return Response(state.find_pipeline(model).model.nets[0].metadata.filter_picture, media_type="image/png")


@router.get("/page/examples/{name}")
async def example(name: str) -> WholeFile:
    """An example picture. Raises ApiError 404 for a name that none has."""
    return await asset(f"examples/{name}")


@router.get("/page/{name}")
async def asset(name: str) -> WholeFile:
    """One of the page's own files. Raises ApiError 404 for a name outside ASSETS."""
    if name not in ASSETS:
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", f"no such file {name!r}")
    return WholeFile(PAGE / name, media_type=ASSETS[name], headers=FRESH)
