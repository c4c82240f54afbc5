"""Which form of the metrics a client prefers, by its header Accept (RFC 9110, 12.5.1)."""

from collections.abc import Iterator

OPENMETRICS, TEXT = "application/openmetrics-text", "text/plain"
VERSIONS = ("", "0.0.1", "1.0.0")  # of OpenMetrics, in a header: none, or what 1.0.0 answers


def prefers_openmetrics(accept: str) -> bool:
    """Return whether a client names OpenMetrics, and likes it no less than text."""
    weights = dict.fromkeys((OPENMETRICS, TEXT), 0.0)
    for kind, parameters in _read(accept):
        if kind == OPENMETRICS and parameters.get("version", "") not in VERSIONS:
            continue
        weights[kind] = max(weights.get(kind, 0.0), _read_weight(parameters.get("q", "1")))
    return 0 < weights[OPENMETRICS] >= weights[TEXT]


def _read(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each media range in lower case, with its parameters."""
    for part in accept.lower().split(","):
        kind, *parameters = (text.strip() for text in part.split(";"))
        pairs = (text.partition("=") for text in parameters)
        yield kind, {name.strip(): value.strip(' "') for name, _, value in pairs}


def _read_weight(text: str) -> float:
    """A weight from 0 to 1; 0 for what is none."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
