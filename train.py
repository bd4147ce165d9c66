"""Train, continue or skip one run, or with -m each run of a sweep: `python train.py --help`."""

import sys

import hydra
from omegaconf import DictConfig

from daso import conf
from daso.schema import Config, Provenance

conf.register()


def run(config: Config, provenance: Provenance) -> float:
    """The run itself, imported here so that --help and --cfg answer without it."""
    from daso.app import run

    return run(config, provenance)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    """One job."""
    return conf.launch(cfg, run)


if __name__ == "__main__":
    sys.exit(conf.guard(main))
