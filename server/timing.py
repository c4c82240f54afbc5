"""The milliseconds of answers: in a body as `timing_ms`, and as the header Server-Timing, which browsers show."""

from collections.abc import Iterable

from tencrop.server.image_answer import ImageAnswer
from tencrop.server.schemas import Timing

SERVER_TIMING = "Server-Timing"


def time_answer(answer: ImageAnswer) -> Timing:
    """The milliseconds of one image."""
    return Timing(
        decode=round(answer.decode_seconds * 1e3, 2),
        queue=round(answer.batched.queue_seconds * 1e3, 2),
        engine=round(answer.batched.engine_seconds * 1e3, 2),
    )


def timing_header(answers: Iterable[ImageAnswer]) -> dict[str, str]:
    """The header of a request's answers, without any for no answer. Of several images it has the longest times."""
    timings = [time_answer(answer) for answer in answers]
    if not timings:
        return {}
    longest = {name: max(getattr(timing, name) for timing in timings) for name in Timing.model_fields}
    return {SERVER_TIMING: ", ".join(f"{name};dur={milliseconds:g}" for name, milliseconds in longest.items())}
