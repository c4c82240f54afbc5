"""TraceContext: a request's place in a distributed trace, by the W3C's headers `traceparent` and `tracestate`.

https://www.w3.org/TR/2021/REC-trace-context-1-20211123/
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
MAX_MEMBERS = 32  # of a tracestate
SAMPLED = 1  # the one flag that version 00 knows
PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
KEY = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
MEMBER = re.compile(rf"(?:{KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
OWS = " \t"


class TraceContext(NamedTuple):
    """The trace and its newest span, in lower-case hex, and what tracing systems add (`state`)."""

    trace_id: str
    span_id: str
    is_sampled: bool
    state: str

    @property
    def flags(self) -> str:
        """The flags in hex."""
        return f"{SAMPLED if self.is_sampled else 0:02x}"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that hand it on, of version 00."""
        parent = f"00-{self.trace_id}-{self.span_id}-{self.flags}"
        headers = {TRACEPARENT: parent, TRACESTATE: self.state}
        return [(name.encode(), value.encode()) for name, value in headers.items() if value]

    def log_fields(self) -> dict[str, str]:
        """The fields of a line of the log, as OpenTelemetry names them for logs in JSON."""
        return {"trace_id": self.trace_id, "span_id": self.span_id, "trace_flags": self.flags}


def read_trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Read a request's headers. None without exactly one valid traceparent; a state that is not valid is dropped."""
    parents = _list_values(headers, TRACEPARENT)
    found = PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if not found:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "00" and rest:  # later versions may be longer
        return None
    state = _read_state(_list_values(headers, TRACESTATE))
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & SAMPLED), state)


def _list_values(headers: Iterable[tuple[bytes, bytes]], name: str) -> list[str]:
    """The values of a header, which may come several times."""
    wanted = name.encode()
    return [value.decode("latin-1").strip(OWS) for key, value in headers if key == wanted]


def _read_state(values: list[str]) -> str:
    """The list of all values together; nothing where a member is not valid or there are too many."""
    members = [member.strip(OWS) for member in ",".join(values).split(",")]
    members = [member for member in members if member]  # empty ones are allowed
    if len(members) > MAX_MEMBERS or not all(map(MEMBER.fullmatch, members)):
        return ""
    return ",".join(members)
