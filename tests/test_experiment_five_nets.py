"""experiments/five_nets.py: the mean of the answers is the ensemble's, and a net with answers is not trained again."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from experiments.five_nets import error_table, run_nets
from tencrop.common.errors import BadInput

LABELS = np.array([0, 0, 0, 1])
FIRST = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
SECOND = np.array([[0.6, 0.4], [0.3, 0.7], [0.7, 0.3], [0.1, 0.9]])


def test_a_line_has_the_last_net_alone_and_the_mean_of_all_up_to_it() -> None:
    assert error_table([FIRST, SECOND], LABELS)[2:] == [
        "| 1 | 50.00 | 66.67 | 50.00 | 66.67 |",
        "| 2 | 25.00 | 16.67 | 0.00 | 0.00 |",
    ]


def test_nets_that_have_answers_are_not_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, mean in enumerate((FIRST, SECOND)):
        (tmp_path / f"net-{seed}").mkdir()
        np.savez(tmp_path / f"net-{seed}" / "answers.npz", mean=mean, labels=LABELS)
    options = Namespace(data=tmp_path / "none", out=tmp_path, nets=2, epochs=16, holdout=0.15, precision="fp32")
    run_nets(options)
    assert capsys.readouterr().out.splitlines() == error_table([FIRST, SECOND], LABELS)
    np.savez(tmp_path / "net-1" / "answers.npz", mean=SECOND, labels=1 - LABELS)
    with pytest.raises(BadInput, match="to other images than those of net-0"):
        run_nets(options)
