"""Files that a kill or a full disk leaves whole, and that tell by themselves when something else did not.

A record is a JSON object or a YAML text with a checksum over the rest of it. What has no checksum, such as the files of
earlier versions and those that a person wrote, is taken as it is.
"""

import errno
import hashlib
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from daso.errors import AFRESH, Damaged, UserError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads hundreds of files in a second
CHECKSUM = "checksum/blake2b"  # the last member of a JSON record
COMMENT = b"# checksum/blake2b: "  # begins the last line of a YAML record


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` so that a kill or a full disk leaves the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def asked_for(key: str, name: str | Path) -> Iterator[Path]:
    """Another name for a file that a person asks for, which has its own once it is whole.

    Args:
        key: what the file is asked for as, for a sentence.
        name: of the file.

    Raises:
        UserError: it cannot be written; at once, where that is clear.
    """
    path = Path(name).expanduser()
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        if not path.parent.is_dir():
            raise UserError(f"{key}={name} is not possible: there is no folder {path.parent}.")
        if path.is_dir():
            raise IsADirectoryError
        part.touch()  # libraries do not say why they cannot
        yield part
        part.replace(path)
    except OSError as error:
        raise UserError(f"{key}={name} is not possible: {why(error)}.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def read_file(path: Path) -> bytes:
    """The content of a file that is there.

    Raises:
        Damaged: the disk cannot read it.
        UserError: it cannot be read for another reason.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno == errno.EIO:
            raise Damaged(f"{path} cannot be read ({why(error)})", AFRESH) from error
        raise UserError(f"{path} cannot be read: {why(error)}.") from error


def why(error: OSError) -> str:
    """What the operating system says, in words, and what would help where that is clear."""
    said = (error.strerror or type(error).__name__).lower()
    if isinstance(error, PermissionError):
        return f"{said}; its owner can allow it"
    if isinstance(error, IsADirectoryError):
        return "it is a folder where a file belongs; move it away"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "there is a file where a folder belongs"
    return said


def damage_of(archive: BinaryIO) -> str | None:
    """The first part of a zip archive that does not fit its checksum, which NumPy and torch do not all read.

    Raises:
        Exception: any, where it is no such archive at all.
    """
    with zipfile.ZipFile(archive) as members:
        found = members.testzip()
    archive.seek(0)
    return found


def digest(*parts: bytes) -> str:
    """32 hex digits over the parts, one after the other."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.hexdigest()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; numbers that are not finite become null."""
    replace_file(path, (json.dumps(_nullify(value), indent=2, allow_nan=False) + "\n").encode())


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """As `write_json`, with a checksum that `read_json` compares."""
    whole = _nullify(value)
    write_json(path, whole | {CHECKSUM: _sum(whole)})


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, without its checksum; None where there is no readable one, or it does not fit its checksum."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    said = value.pop(CHECKSUM, None)
    return value if said in (None, _sum(value)) else None


def sealed(text: str) -> str:
    """A YAML text with its checksum as a last line, which `read_yaml` compares."""
    return f"{text}{COMMENT.decode()}{digest(text.encode())}\n"


def read_yaml(path: Path) -> dict[str, Any] | None:
    """A YAML mapping; None where there is no readable one, or it does not fit its checksum."""
    try:
        text = path.read_bytes()
        rest, comment, said = text.rpartition(COMMENT)
        if comment and said != f"{digest(rest)}\n".encode():
            return None
        value = yaml.load(text, Loader=LOADER)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return value if isinstance(value, dict) else None


def _sum(value: Mapping[str, Any]) -> str:
    return digest(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def _nullify(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _nullify(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nullify(item) for item in value]
    return value
