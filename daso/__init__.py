"""Experiments in long-tailed semi-supervised learning; `daso.load` takes up what one of them has trained."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from daso.trained.load import Trained

__all__ = ["load"]


def load(run: "str | Path", out_root: "str | Path" = "outputs", device: str = "auto") -> "Trained":
    """The network of a finished run, ready to answer, with the run's numbers and curves.

    Args:
        run: its folder, or its key, which may be shortened while it stays unique, or `latest`: the one finished last.
        out_root: where the folders of runs are, for a key or `latest`.
        device: where to compute: auto (CUDA where there is one), cpu, cuda, cuda:1.

    Raises:
        UserError: there is no such run, it is not finished, of another version, or a file of it is damaged.
    """
    from daso.trained.load import load_run

    return load_run(run, out_root, device)
