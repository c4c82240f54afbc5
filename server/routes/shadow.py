"""/v1/shadow and /shadow tell how often the shadow disagrees; /v1/feedback takes the labels of requests."""

from html import escape
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from tencrop.model.contract import Contract
from tencrop.server.body_images import describe_body, refer
from tencrop.server.errors import ApiError, bad_parameter_error
from tencrop.server.failures import describe_failures
from tencrop.server.hardening_headers import POLICY
from tencrop.server.json_body import JSON, read_json
from tencrop.server.known_parameters import KnownParametersRoute
from tencrop.server.routes.page import FRESH, PAGE, RULES
from tencrop.server.shadow import Shadow
from tencrop.server.shadow_schemas import Feedback, NewFeedback, RightCounts, ShadowState
from tencrop.server.state import State

HTML = (PAGE / "shadow.html").read_text("utf-8")
NONE = "nothing is compared yet"
BODY = describe_body({JSON: refer(NewFeedback)})

router = APIRouter(tags=["shadow"], route_class=KnownParametersRoute)


async def _get_shadow(state: State) -> Any:
    """Return the shadow. Raises ApiError 404 where there is none."""
    if state.shadow is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "shadow_off", "there is no shadow: start the server with --shadow")
    return state.shadow


OpenedShadow = Annotated[Shadow, Depends(_get_shadow)]


@router.get("/v1/shadow", responses=describe_failures(404, 422))
def get_shadow(shadow: OpenedShadow) -> ShadowState:
    """The rate at which the shadow disagrees with the first model, and who was right where labels came."""
    return shadow.describe()


@router.post(
    "/v1/feedback", openapi_extra=BODY, responses=describe_failures(400, 404, 413, 415, 422, 429, 503, 504, 507)
)
async def give_feedback(request: Request, state: State, shadow: OpenedShadow) -> Feedback:
    """Give the true label of a request's image, by its id or name. A second label replaces the first."""
    given = await read_json(request, NewFeedback)
    label = find_label(state.find_pipeline(shadow.name).model.contract, given.label)
    answer: Feedback = await run_in_threadpool(shadow.give_label, given.model_copy(update={"label": label}))
    return answer


def find_label(contract: Contract, text: str) -> str:
    """The id of the label with that id, else that name. Raises ApiError 422 where no label or several have the name."""
    ids = [label.id for label in contract.labels if label.id == text]
    found = ids or [label.id for label in contract.labels if label.name == text]
    if not found:
        raise bad_parameter_error(f"label: no class has the id or the name {text[:64]!r}")
    if len(found) > 1:
        raise bad_parameter_error(f"label: {len(found)} classes have the name {text[:64]!r}; send an id")
    return found[0]


@router.get("/shadow", include_in_schema=False)
def shadow_page(state: State, shadow: OpenedShadow) -> HTMLResponse:
    """The page of the same numbers. As /metrics it needs no key."""
    return HTMLResponse(render(shadow.describe(), state.settings.root_path), headers={**FRESH, POLICY: RULES})


def render(found: ShadowState, root: str) -> str:
    """The page as HTML, below the sub-path `root`."""
    right = found.right.model_dump() if found.right else dict.fromkeys(RightCounts.model_fields, "off")
    values = found.model_dump(include={"compared", "dropped", "waiting", "disagreements"}) | right
    return HTML.format(
        root=root,
        model=escape(found.model),
        shadow=escape(found.shadow),
        since=f"{found.since:%Y-%m-%d %H:%M} UTC",
        share=NONE if found.disagreement is None else f"{found.disagreement:.2%}",
        interval="{:.2%} to {:.2%}".format(*found.interval) if found.interval else NONE,
        **values,
    )
