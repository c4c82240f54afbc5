"""Finds the class that a label names, by its number, its id or its name."""

from collections import Counter
from collections.abc import Sequence

from tencrop.common.did_you_mean import did_you_mean
from tencrop.dataset.class_names import are_numbers
from tencrop.model.contract import Label


class ClassLookup:
    """The classes of a data set, numbered from 0. A name that several classes have finds none of them."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self.count = len(labels)
        names = Counter(label.name for label in labels)
        self._indices = {label.name: index for index, label in enumerate(labels) if names[label.name] == 1}
        self._indices |= {label.id: index for index, label in enumerate(labels)}

    def advise(self, value: object, otherwise: str) -> str:
        """Advice for a text that names no class: the id or name that is like it, before the advice for any other."""
        return did_you_mean(str(value), self._indices, otherwise)

    def find(self, value: int | str) -> int | None:
        """Find the number of a class. A text is an id or a name; a number in a text counts where no class has it."""
        if isinstance(value, str):
            text = value.strip()
            if text in self._indices or not are_numbers([text]):
                return self._indices.get(text)
            value = int(text)
        return value if 0 <= value < self.count else None
