"""TensorBoard as a mirror of the run directory: event files in a folder of the run's name, beside the runs.

An event file is cheap and cannot take a point back, so whoever begins to mirror a run writes its file anew, from the
journal's first row on. Needs the package `tensorboard`, neither torch nor TensorFlow.
"""

import os
import re
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from daso.credentials import mask_all
from daso.errors import UserError
from daso.outputs.naming import run_name
from daso.outputs.rundir import RunDir
from daso.track.follower import Status
from daso.track.jsonl import TIME, Prefix, Row, follow, read
from daso.track.selection import KEYS, Selection

FOLDER = "tensorboard"  # in out_root
EVENTS = "events.out.tfevents.*"
INSTALL = "pip install -e '.[tensorboard]'"


class Board:
    """The event file of a run, see `Backend`.

    Args:
        run: the run directory; `resolved.yaml` is there already.
        config: what it says.
        remedy: the command that writes the file by hand.
    """

    name = "TensorBoard"

    def __init__(self, run: RunDir, config: dict[str, Any], remedy: str) -> None:
        self.run = run
        self.config = config
        words = re.sub(r"[^\w.=-]+", "_", run_name(config, run.about().get("typed", "")))
        self.folder = self.folder_of(run) or run.root / FOLDER / f"{words}_{run.key}"
        self.place = str(self.folder)
        self.remedy = remedy
        self.gains = 0
        self._selection = Selection.of(config, run.about().get("steps"))
        self._file: Any = None
        self._records: Any = None
        self._sent = Prefix()

    @staticmethod
    def folder_of(run: RunDir) -> Path | None:
        """Where the file of a run is, whatever its words were when it was begun; None where it has none."""
        return next(iter(sorted((run.root / FOLDER).glob(f"*_{run.key}"))), None)

    def send(self) -> None:
        """Begin the file if it is not begun yet, then write every row that is new."""
        if self._file is None:
            self._open()
        for row, end in follow(self.run.metrics, self._sent):
            self._write(self._selection.now(row))
            self._sent = end
        self._file.flush()

    def close(self, status: Status, artifacts: Sequence[Path] = ()) -> None:
        """Write what was held back of the newest rows, and the pictures."""
        last: dict[str, Row] = {}  # of each event
        for row in read(self.run.metrics):
            last[row["event"]] = row
        for row in last.values():
            self._write(self._selection.rest(row))
        step = max((row["step"] for row in last.values()), default=0)
        stamp = max((row[TIME] for row in last.values()), default=time.time())
        for folder in (path for path in artifacts if path.is_dir()):
            for picture in sorted(folder.glob("*.png")):
                self._write_picture(picture, step, stamp)
        self._file.close()
        self.reopen()

    def reopen(self) -> None:
        """Begin anew with the next call."""
        self._file = None

    def _open(self) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise UserError(f"track=tensorboard needs a package that is not there: {INSTALL}") from error
        self.gains += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob(EVENTS):
            old.unlink()
        began = next((row[TIME] for row in read(self.run.metrics)), time.time())
        name = EVENTS.replace("*", f"{int(began):010d}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}")
        self._file = (self.folder / name).open("wb")
        self._records, self._sent = RecordWriter(self._file), Prefix()
        self._records.write(Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
        self._write_text("configuration", yaml.safe_dump(mask_all(self.config), sort_keys=False), began)

    def _write(self, row: Row) -> None:
        """The numbers of a row, in one event."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name not in KEYS and value is not None
        ]
        if values:
            event = Event(wall_time=row[TIME], step=row["step"], summary=Summary(value=values))
            self._records.write(event.SerializeToString())
            self.gains += 1

    def _write_text(self, tag: str, text: str, stamp: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        code = "".join(f"    {line}\n" for line in text.splitlines())  # Markdown
        plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(dtype=DT_STRING, string_val=[code.encode()])
        value = Summary.Value(tag=tag, metadata=plugin, tensor=tensor)
        self._records.write(Event(wall_time=stamp, summary=Summary(value=[value])).SerializeToString())

    def _write_picture(self, path: Path, step: int, stamp: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])  # of a PNG
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=content)
        value = Summary.Value(tag=f"{path.parent.name}/{path.stem}", image=image)
        event = Event(wall_time=stamp, step=step, summary=Summary(value=[value]))
        self._records.write(event.SerializeToString())
        self.gains += 1
