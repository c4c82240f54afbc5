"""GET /docs: the OpenAPI document in Swagger's page. All assets of the page come from this server."""

import re
from base64 import b64encode
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

import fastapi_swagger
from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from tencrop.server.errors import ApiError
from tencrop.server.hardening_headers import EVERYWHERE, POLICY
from tencrop.server.state import State
from tencrop.server.whole_file import WholeFile

FOLDER = Path(fastapi_swagger.__file__).parent / "resources"  # Swagger UI 5, as npm's swagger-ui-dist has it
INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)  # FastAPI's call of Swagger
RULES = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon-32x32.png": "image/png"}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(state: State) -> HTMLResponse:
    """The page that shows the OpenAPI document. Its policy lets the browser run no other script."""
    root = state.settings.root_path
    js, css, icon = (f"{root}/docs/{name}" for name in ASSETS)
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="tencrop",
        swagger_js_url=js,
        swagger_css_url=css,
        swagger_favicon_url=icon,
    )
    hashes = " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in INLINE.findall(page.body))
    page.headers[POLICY] = f"{RULES}; script-src 'self' {hashes}; {EVERYWHERE}"
    return page


@router.get("/docs/{name}")
async def asset(name: str) -> WholeFile:
    """One of the page's own files. Raises ApiError 404 for a name outside ASSETS."""
    if name not in ASSETS:
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", f"no such file {name!r}")
    return WholeFile(FOLDER / name, media_type=ASSETS[name])
