"""The program behind `daso` and `python train.py`: one job of Hydra's, and what ends it."""

import math
from importlib import import_module

import hydra
from omegaconf import DictConfig

from daso.command.guard import guard
from daso.command.launch import launch
from daso.machine.memory import loading
from daso.schema import Config, Provenance
from daso.settings.compose import register
from daso.settings.options import CONF
from daso.sweep.supervise import PATIENCE

register()


def run(config: Config, provenance: Provenance) -> float:
    """The run itself, imported here so that --help and --cfg answer without it."""
    with loading():
        from daso.run.start import run

    patience = math.inf if provenance.awaited else PATIENCE if provenance.in_sweep else 5.0
    return run(config, provenance, patience)


def prepare() -> None:
    """What every run of a sweep needs, imported once before one is forked after the other."""
    with loading():
        for name in ("daso.run.start", "matplotlib.figure", "torch._dynamo"):
            import_module(name)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def job(cfg: DictConfig) -> float:
    """One job."""
    return launch(cfg, run, prepare)


def main() -> int:
    """Run the command line; returns the exit code."""
    return guard(job)
