"""The head of a model card: metadata that the Hugging Face hub reads, with the errors as its model-index.

https://github.com/huggingface/hub-docs/blob/main/modelcard.md?plain=1 describes the keys.
"""

from typing import Any

from tencrop.model.measured_errors import MeasuredErrors
from tencrop.model.origin import Origin
from tencrop.model.tencropfile import TenCropFile

TASK = "image-classification"
LIBRARY = {"library_name": "tencrop"}  # by which a card of ours is known


def hub_metadata(file: TenCropFile, errors: MeasuredErrors | None, origin: Origin | None) -> dict[str, Any]:
    """The metadata of a model as plain data, without keys for what is not known."""
    is_alexnet = "net" in file.metadata.recipe  # an imported net has no such table
    head: dict[str, Any] = {"license": origin.license} if origin else {}
    head |= LIBRARY | {"pipeline_tag": TASK}
    head |= {"tags": [TASK, "onnx", *(["alexnet"] if is_alexnet else [])]}
    if origin:
        head["datasets"] = list(origin.datasets)
    if errors:
        head["model-index"] = [{"name": file.name, "results": [_describe_result(errors)]}]
    return head


def _describe_result(errors: MeasuredErrors) -> dict[str, Any]:
    """One result of a model-index. The hub counts accuracies, which are 1 - error."""
    metrics = [
        {"type": "accuracy", "name": f"{top} accuracy, {row.words}", "value": round(1 - error, 6)}
        for row in errors.rows()
        for top, error in row.rates.by_top().items()
    ]
    dataset = {"type": errors.dataset, "name": f"{errors.dataset} ({errors.describe_images()})"}
    return {"task": {"type": TASK}, "dataset": dataset, "metrics": metrics}
