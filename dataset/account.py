"""Account: what became of every image of a data set. Each one that was seen is taken, or left out for a stated reason.

What counts as one is a file, a sample of a WebDataset tar, a row of a parquet file, or a folder that is passed over.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tencrop.common.errors import WorkFailed

NAMES = 100  # of each reason, that are kept to be shown
SHOWN = 5  # of them, in a terminal
HIDDEN = ".*"  # the kind of all hidden files

PASSED_OVER, WITHOUT_LABEL, WITHOUT_PAIR = "passed_over", "without_label", "without_pair"
LEFT_OUT = {  # why an image is left out when the data set is listed, in words
    PASSED_OVER: "passed over by name",
    WITHOUT_LABEL: "without a label",
    WITHOUT_PAIR: "without a pair",
}
DUPLICATES, REPEATED, NOT_READ = "duplicates", "repeated", "not_read"
FOUND = {  # what else is told, with names
    DUPLICATES: "for validation, with the bytes of a training image (duplicates)",
    REPEATED: "more lines that name an image again, with the same label",
    NOT_READ: "not looked at, of another split or configuration",
}


@dataclass
class Group:
    """A number of things with names, of which the first NAMES different ones are kept."""

    count: int = 0
    names: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, times: int = 1) -> None:
        """Count something that has this name."""
        self.count += times
        if name in self.names or len(self.names) < NAMES:
            self.names[name] += times

    def format(self) -> str:
        """The number and the most frequent names."""
        frequent = sorted(self.names.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
        shown = [name if times == 1 else f"{times} x {name}" for name, times in frequent]
        more = ["..."] if len(self.names) > SHOWN else []
        return ", ".join(shown + more)


@dataclass
class Inventory:
    """Counts what is seen while a data set is listed, and what is left out."""

    seen: int = 0
    groups: dict[str, Group] = field(default_factory=dict)

    def see(self, count: int = 1) -> None:
        """Count images where they are met, before it is known what becomes of them."""
        self.seen += count

    def leave_out(self, reason: str, name: str, times: int = 1) -> None:
        """Count an image that was seen and is left out; `reason` is a key of LEFT_OUT."""
        self._add(reason, name, times)

    def pass_over(self, name: str) -> None:
        """See a file or folder and leave it out because of its name; folders end with a slash."""
        self.see()
        self.leave_out(PASSED_OVER, name_kind(name))

    def note_repeated(self, name: str) -> None:
        """Note that a list names an image once more."""
        self._add(REPEATED, name)

    def note_unread(self, name: str) -> None:
        """Note a file or folder of another split, which is not looked into."""
        self._add(NOT_READ, name)

    def _add(self, kind: str, name: str, times: int = 1) -> None:
        self.groups.setdefault(kind, Group()).add(escape_name(name), times)


@dataclass(frozen=True)
class Account:
    """The account of a finished run: `seen` is the sum of `taken`, what was left out, and what is undecodable.

    Duplicates are taken, and counted besides. With a limit, or a share of each class, `taken` includes the images that
    the run did not read.
    """

    seen: int
    taken: int
    undecodable: Mapping[str, int]  # by reason
    groups: Mapping[str, Group]  # keys of LEFT_OUT and FOUND

    @classmethod
    def close(
        cls, inventory: Inventory, listed: int, undecodable: Iterable[str], duplicates: Iterable[str] = ()
    ) -> Self:
        """Close the account of `listed` images; `undecodable` has a reason for each, `duplicates` are ids.

        Raises WorkFailed where it does not add up.
        """
        left_out = sum(inventory.groups[reason].count for reason in LEFT_OUT if reason in inventory.groups)
        if listed + left_out != inventory.seen:
            raise WorkFailed(
                f"the account does not add up: {inventory.seen} images seen, {listed} listed, {left_out} left out",
                "this is a fault of tencrop: please report it",
            )
        reasons = Counter(undecodable)
        found = Group()
        for id in duplicates:
            found.add(id)
        groups = inventory.groups | ({DUPLICATES: found} if found.count else {})
        return cls(inventory.seen, listed - reasons.total(), dict(sorted(reasons.items())), groups)

    def count(self, kind: str) -> int:
        """The number of a key of LEFT_OUT or FOUND."""
        return self.groups[kind].count if kind in self.groups else 0

    def to_json(self) -> dict[str, Any]:
        """The form that summary.json and prepared.json hold."""
        return {
            "seen": self.seen,
            "taken": self.taken,
            **{kind: self.count(kind) for kind in (*LEFT_OUT, DUPLICATES, REPEATED)},
            "undecodable": dict(self.undecodable),
            "names": {kind: dict(group.names) for kind, group in self.groups.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """From `to_json`. Raises ValueError, KeyError, TypeError or AttributeError where it is something else."""
        names = {kind: Counter(group) for kind, group in document["names"].items()}
        groups = {kind: Group(int(document.get(kind, group.total())), group) for kind, group in names.items()}
        reasons = {str(reason): int(count) for reason, count in document["undecodable"].items()}
        return cls(int(document["seen"]), int(document["taken"]), reasons, groups)

    def rows(self) -> list[tuple[int, str, str]]:
        """The rows for people about what was not simply taken: a number, what it is of, and names or reasons."""
        rows = [
            (self.count(kind), words, self.groups[kind].format())
            for kind, words in (LEFT_OUT | FOUND).items()
            if self.count(kind)
        ]
        if self.undecodable:
            reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in self.undecodable.items())
            rows.append((sum(self.undecodable.values()), "undecodable", reasons))
        return rows

    def format(self) -> list[str]:
        """The account in lines for a terminal."""
        return [f"{self.seen} seen: {self.taken} taken", *(f"  {n} {what}: {names}" for n, what, names in self.rows())]


def escape_name(name: str) -> str:
    """Write the bytes of a file name that are not UTF-8 as \\xNN."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def name_kind(name: str) -> str:
    """The part of a name that files of a kind share: the suffix, else the whole name; folders keep their names."""
    base = name.rstrip("/").rpartition("/")[2]
    stem, dot, suffix = base.rpartition(".")
    if name.endswith("/"):
        return base + "/"
    if base.startswith("."):
        return HIDDEN
    return dot + suffix.lower() if stem else base
