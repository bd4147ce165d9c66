"""What a tracker says about a run in words."""

import shlex
import socket
from collections.abc import Mapping
from typing import Any

from daso.credentials import mask
from daso.outputs.naming import dataset_name, imbalance_name, method_name
from daso.outputs.rundir import RunDir

PROGRAM = "train.py"


def command(run: RunDir) -> str:
    """The command line that started a run, as far as its folder says."""
    return mask(f"python {PROGRAM} {run.about().get('tags', {}).get('overrides', '')}".strip())


def description(config: Mapping[str, Any], run: RunDir) -> str:
    """Method, setting, command and folder, as Markdown; the command's credentials are masked."""
    try:
        what = f"**{method_name(config)}** on {dataset_name(config['dataset'])}, {imbalance_name(config['imb'])}"
        what += f", seed {config['seed']}: {config['train']['steps']} steps."
    except (AttributeError, KeyError, TypeError, ValueError):  # of another version
        what = f"Run {run.key}."
    place = f"{socket.gethostname()}:{run.path}"
    again = f"python -m daso.runs mirror {run.key} --root {shlex.quote(str(run.root))}"
    lines = (f"    {command(run)}", f"The truth lies in `{place}`; `{again}` shows it here anew.")
    return mask("\n\n".join((what, *lines)))
