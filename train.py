"""Train, continue or skip one run, or with -m each run of a sweep: `python train.py --help`."""

import signal
import sys
from importlib import import_module

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until a run or a sweep listens, a Ctrl-C ends the process at once: an exception would strike amid an import,
    # where torch swallows it and goes on with half a NumPy.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import hydra
from omegaconf import DictConfig

from daso.command.guard import guard
from daso.command.launch import launch
from daso.machine.memory import loading
from daso.schema import Config, Provenance
from daso.settings.compose import register
from daso.sweep.supervise import PATIENCE

register()


def run(config: Config, provenance: Provenance) -> float:
    """The run itself, imported here so that --help and --cfg answer without it."""
    with loading():
        from daso.run.start import run

    return run(config, provenance, PATIENCE if provenance.in_sweep else 5.0)


def prepare() -> None:
    """What every run of a sweep needs, imported once before one is forked after the other."""
    with loading():
        for name in ("daso.run.start", "matplotlib.figure", "torch._dynamo"):
            import_module(name)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    """One job."""
    return launch(cfg, run, prepare)


if __name__ == "__main__":
    sys.exit(guard(main))
