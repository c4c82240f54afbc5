"""onnxruntime-web in Debian's Chromium, by Playwright, which hands the page its files without a server."""

import base64
import shutil
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from playwright.sync_api import Route, sync_playwright

PAGE = "http://localhost/"  # nothing listens there
PLACES = (Path(sys.prefix) / "node_modules" / "onnxruntime-web" / "dist", Path(__file__).parent)  # of the page's files
TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".onnx": "application/octet-stream"}
ANSWER = """async ([model, output, batch]) => {
    const ort = await import("/ort.wasm.min.mjs");
    const { answer } = await import("/answer.mjs");
    ort.env.wasm.numThreads = 1;
    globalThis.session ??= await ort.InferenceSession.create(model);
    const bytes = Uint8Array.from(atob(batch), (letter) => letter.charCodeAt(0));
    return Array.from(await answer(ort, globalThis.session, output, bytes));
}"""


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values. The browser runs until this program ends."""
    browser = sync_playwright().start().chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = browser.new_page()

    def fulfill(route: Route) -> None:
        name = route.request.url.removeprefix(PAGE)
        found = [place / name for place in (path.parent, *PLACES) if name and (place / name).is_file()]
        body = found[0].read_bytes() if found else b"<!doctype html>"
        route.fulfill(body=body, content_type=TYPES.get(Path(name).suffix, "text/html"))

    page.route(f"{PAGE}**", fulfill)
    page.goto(PAGE)

    def forward(batch: np.ndarray) -> np.ndarray:
        packed = BytesIO()
        np.save(packed, batch)
        sent = [f"/{path.name}", output, base64.b64encode(packed.getvalue()).decode()]
        return np.frombuffer(bytes(page.evaluate(ANSWER, sent)), np.float32)

    return forward
