"""Keeps torch's own messages off stderr, which speak to those who develop torch."""

import logging
import warnings


def silence_torch() -> None:
    """Drop the warnings of torch's log and those that its modules raise. Errors stay."""
    logging.getLogger("torch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"torch\.")
