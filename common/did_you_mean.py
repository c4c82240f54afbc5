"""Advice for a mistyped name: the known name that is like it."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "did you mean X?" where a known name is like this one, before the advice for any other name.

    Upper and lower case are alike.
    """
    by_fold = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), by_fold, 1)
    return " ".join(filter(None, (f"did you mean {by_fold[close[0]]}?" if close else "", otherwise)))
