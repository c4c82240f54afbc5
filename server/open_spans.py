"""Opens the spans of a process where the settings ask for them. OpenTelemetry's SDK is imported only then."""

import os
from typing import TYPE_CHECKING

from tencrop.common.errors import BadInput
from tencrop.common.extras import require
from tencrop.server.settings import Settings

if TYPE_CHECKING:
    from tencrop.server.spans import Spans

PROTOCOL = "http/protobuf"
FIXED = {  # OpenTelemetry's variables of which the extra `otel` has one value
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": PROTOCOL,
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": PROTOCOL,
}


def check_spans(settings: Settings) -> None:
    """Check that spans can be opened as asked. Raises BadInput, and WorkFailed without the extra `otel`."""
    if not settings.otel:
        return
    require("otel")
    for name, value in FIXED.items():
        if (given := os.environ.get(name) or value) != value:
            raise BadInput(f"{name}={given}: spans are sent by OTLP over HTTP alone", f"set it to {value}")
    try:
        spans = open_spans(settings)
    except ValueError as error:
        raise BadInput(f"a variable of OpenTelemetry: {error}") from None
    if spans:
        spans.close()


def open_spans(settings: Settings) -> "Spans | None":
    """Open the spans of this process; None where they are off."""
    if not settings.otel:
        return None
    from tencrop.server.spans import Spans  # needs the extra `otel`

    return Spans()
