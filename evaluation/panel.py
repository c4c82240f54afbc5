"""A panel of images, each with its true class and five bars, as in the paper's figure 4. Images are read again for it."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from tencrop.common.errors import ImageError
from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.record_queries import Predictions
from tencrop.images.decode import decode
from tencrop.model.contract import Contract

THUMBNAIL = Contract(resize=224, crop=224)  # pixels; the square that the net sees, smaller
QUALITY = 80  # about 12 kB a photograph


def panel(
    rows: Sequence[int], answers: Predictions, names: Sequence[str], data: Source, entries: Sequence[Entry]
) -> str:
    """HTML of the images of these rows; `names` are the model's classes in words."""
    return f'<div class="panel">{"".join(_figure(row, answers, names, data, entries[row]) for row in rows)}</div>'


def _figure(row: int, answers: Predictions, names: Sequence[str], data: Source, entry: Entry) -> str:
    true = int(answers.labels[row])
    guesses = zip(answers.top[row].tolist(), answers.probabilities[row].tolist(), strict=True)
    bars = "".join(_bar(names[index], p, index == true) for index, p in guesses if index >= 0)
    caption = f"<figcaption><h3>{escape(names[true])}</h3><span>{escape(entry.id)}</span></figcaption>"
    return f'<figure>{_picture(data, entry)}{caption}<ol class="bars">{bars}</ol></figure>'


def _bar(name: str, probability: float, true: bool) -> str:
    kind, mark = (' class="true"', "✓ ") if true else ("", "")
    style = f'style="--p:{100 * probability:.1f}%"'
    return f'<li{kind} {style}><span>{mark}{escape(name)}</span> <span class="n">{probability:.1%}</span></li>'


def _picture(data: Source, entry: Entry) -> str:
    try:
        pixels, _ = decode(data.read(entry), THUMBNAIL)
    except (ImageError, OSError):  # it was there a moment ago; the report does without its picture
        return '<span class="gone">image is gone</span>'
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=QUALITY, optimize=True)
    source = base64.b64encode(packed.getvalue()).decode()
    return f'<img alt="{escape(entry.id)}" width="224" height="224" src="data:image/jpeg;base64,{source}">'
