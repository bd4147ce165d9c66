"""Weights & Biases as a mirror of the run directory: online where there is a key, else in files for `wandb sync`.

A run of W&B cannot take a point back either. Online it goes on after the rows that it is noted to have, where the
journal still begins with them, and is replaced by a run of another id where it does not. Offline it is written anew.
"""

import netrc
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from daso.credentials import mask_all
from daso.errors import UserError
from daso.outputs.files import read_json, write_json
from daso.outputs.naming import run_name
from daso.outputs.rundir import RunDir
from daso.track.about import description
from daso.track.follower import Status
from daso.track.jsonl import Prefix, Row, follow, read
from daso.track.selection import KEYS, Selection

FOLDER = "wandb"  # in out_root
INSTALL = "pip install -e '.[wandb]'"
SERVER = "https://api.wandb.ai"
WAIT = 10.0  # seconds for its server, at the beginning and at the end
ENDS: Mapping[Status, int] = {"FINISHED": 0, "FAILED": 1, "KILLED": 255}
NO_PROJECT = re.compile(r"[/\\#?%:]")


class WandbRun:
    """The run of W&B of a run directory, see `Backend`.

    Args:
        run: the run directory; `resolved.yaml` is there already.
        config: what it says.
        remedy: the command that writes the run anew.
        fresh: whether to begin anew even if it could go on.
    """

    name = "W&B"

    def __init__(self, run: RunDir, config: dict[str, Any], remedy: str, fresh: bool = False) -> None:
        self.run = run
        self.config = config
        self.mode = mode()
        self.project = NO_PROJECT.sub("_", str(config.get("track", {}).get("experiment") or "daso"))
        self.place = server() if self.mode == "online" else str(run.root / FOLDER)
        self.remedy = remedy
        self.gains = 0
        self._fresh = fresh
        self._selection = Selection.of(config, run.about().get("steps"))
        self._run: Any = None
        self._id, self._attempt = "", 0
        self._sent = Prefix()

    def send(self) -> None:
        """Open the run if it is not open yet, then send every row that is new."""
        if self._run is None:
            self._open()
        rows = list(follow(self.run.metrics, self._sent))
        if rows:
            self._note(sending=rows[-1][1])
        for row, end in rows:
            self._log(self._selection.now(row))
            self._sent = end
        self._note()

    def close(self, status: Status, artifacts: Sequence[Path] = ()) -> None:
        """Send what was held back of the newest rows, and the pictures; end the run."""
        from wandb import Image

        last: dict[str, Row] = {}  # of each event
        for row in read(self.run.metrics):
            last[row["event"]] = row
        for row in last.values():
            self._log(self._selection.rest(row))
        pictures = [path for folder in artifacts if folder.is_dir() for path in sorted(folder.glob("*.png"))]
        if pictures:
            self._run.log({f"{path.parent.name}/{path.stem}": Image(str(path)) for path in pictures})
        self._run.finish(exit_code=ENDS[status])
        self.gains += 1
        self.reopen()

    def reopen(self) -> None:
        """Open the run anew with the next call."""
        self._run = None

    def _open(self) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            import wandb
        except ImportError as error:
            raise UserError(f"track=wandb needs a package that is not there: {INSTALL}") from error
        self.gains += 1
        self._begin()
        card = {"name": run_name(self.config), "tags": {}} | self.run.about()
        tags: dict[str, Any] = card["tags"]
        told = [str(tags[name]) for name in ("method", "dataset", "imbalance") if tags.get(name)]
        self.run.root.mkdir(parents=True, exist_ok=True)
        quiet = {"silent": True, "console": "off", "disable_git": True, "disable_code": True, "x_disable_stats": True}
        quiet |= {"x_disable_meta": True, "x_save_requirements": False, "x_disable_machine_info": True}
        waits = {"init_timeout": WAIT, "finish_timeout": WAIT, "finish_timeout_raises": True}
        self._run = wandb.init(
            project=self.project,
            name=card["name"],
            id=self._id,
            dir=str(self.run.root),
            mode=self.mode,
            resume="allow" if self.mode == "online" else None,
            reinit="create_new",
            config=mask_all(self.config),
            tags=[word[:64] for word in told],
            group=tags.get("sweep_name"),
            notes=description(self.config, self.run),
            settings=wandb.Settings(**quiet, **waits),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self.gains += 1

    def _begin(self) -> None:
        """Find the id, and how much of the journal the run of that id has."""
        note = read_json(self.run.wandb) or {}
        attempt = int(note.get("attempt", 0))
        there = note.get("project") == self.project and note.get("place") == self.place
        places = [note.get(name) for name in ("sent", "sending")]
        whole = all(isinstance(place, list) and len(place) == 2 for place in places)
        if there and whole and self.mode == "online" and not self._fresh:
            sent, sending = (Prefix.of(self.run.metrics, *place) for place in places if place)
            if sent is not None and sending is not None:
                self._attempt, self._sent, self._id = attempt, sent, _id(self.run, attempt)
                return
        seen = bool(note) and self.mode == "online"
        for folder in (self.run.root / FOLDER).glob(f"offline-run-*-{_id(self.run, attempt)}"):
            if any(folder.glob("*.synced")):
                seen = True
            else:
                shutil.rmtree(folder, ignore_errors=True)
        self._attempt = attempt + seen
        self._id, self._sent = _id(self.run, self._attempt), Prefix()

    def _log(self, row: Row) -> None:
        values = {name: value for name, value in row.items() if name not in KEYS and value is not None}
        if values:
            self._run.log(values | {"step": row["step"]})
            self.gains += 1

    def _note(self, sending: Prefix | None = None) -> None:
        note = {"place": self.place, "project": self.project, "attempt": self._attempt}
        write_json(self.run.wandb, note | {"sent": self._sent.note(), "sending": (sending or self._sent).note()})


def mode() -> str:
    """As the variable WANDB_MODE says, else online where there is a key."""
    return os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")


def server() -> str:
    """Where W&B is."""
    return os.environ.get("WANDB_BASE_URL") or SERVER


def _has_key() -> bool:
    """Whether the environment, or the file that `wandb login` writes, holds a key."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    with suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(server()).hostname or "") is not None
    return False


def _id(run: RunDir, attempt: int) -> str:
    return f"{run.key}-{attempt}" if attempt else run.key
