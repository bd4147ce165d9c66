"""What is wrong with the option files that a command line chooses: a sentence with file, line and what is missing."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from daso.settings.identity import knobs
from daso.settings.options import CONF, own_folders

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CHOICE = re.compile(r"[+]{0,2}(?P<group>[\w/-]+)(@[\w.]*)?=(?P<options>[\w,./-]+)$")
HEADER = re.compile(r"#\s*@package\s+(\S+)\s*$")
NO_SPACE = re.compile(r"[\w.]+:\S+$")
TAB = "\t"
DEEPEST = 8  # nodes that one may stand within
MEANINGS = (  # of what the parser says
    (r"found character '\\t'", "a tab, where YAML indents by spaces"),
    (r"expected (<block end>|key)|mapping values are not allowed", "its indent fits none of the lines above it"),
    (r"duplicate key:? ?(.*)", r"the key \1 stands there a second time"),
    (r"constructor for the tag '(.*)'", r"the tag \1 is not read: option files hold plain values"),
    (r"undefined alias", "a value that begins with * belongs into quotes"),
    (r"(single|another) document", "--- begins a second document, where an option file is one"),
)


class Entry(NamedTuple):
    """A value that an option file sets."""

    key: str  # of a configuration
    value: str  # as it stands there
    place: str  # the file and the line
    group: str  # the file's


def complaint(arguments: Sequence[str]) -> str:
    """The first fault of an option file that the command line chooses, itself or by way of another; empty without one.

    Asked once composition has failed: it tells what is missing where the library tells what it could not do.
    """
    for path, group in chosen(arguments):
        if fault := _fault(path, group):
            return f"{path}{fault}."
    return ""


def chosen(arguments: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """The option files that a command line names, and those that their defaults name, with their groups."""
    found = (match for argument in arguments if (match := CHOICE.match(argument)))
    left = [(match["group"], option) for match in found for option in match["options"].split(",")]
    seen = set()
    while left:
        group, option = left.pop(0)
        for root in (CONF, *own_folders()):
            path = root / group / f"{option}.yaml"
            if path not in seen and _is_file(path):
                seen.add(path)
                left += _defaults(path, group, path.stat().st_mtime_ns)
                yield path, group
                break


def _is_file(path: Path) -> bool:
    """Whether there is such a file; there is none of a name that no file system takes."""
    try:
        return path.is_file()
    except OSError:
        return False


def entries(arguments: Sequence[str]) -> Iterator[Entry]:
    """The plain values that the chosen option files set, quoted ones aside."""
    for path, group in chosen(arguments):
        for key, value, line in _plain(path, group, path.stat().st_mtime_ns):
            yield Entry(key, value, f"{path}, line {line}", group)


@cache
def _plain(path: Path, group: str, changed: int) -> list[tuple[str, str, int]]:
    """Key, value and line of each; files that cannot be read are told of elsewhere. `changed` is when it last did."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (OSError, ValueError, yaml.YAMLError):
        return []
    package = _package(path) or group.replace("/", ".")
    left, found = [("" if package == "_global_" else f"{package}.", root)], []
    while left:
        prefix, node = left.pop()
        deep = prefix.count(".") > DEEPEST  # an alias may stand within what it names
        for key, value in node.value if isinstance(node, yaml.MappingNode) and not deep else []:
            if isinstance(value, yaml.ScalarNode) and not value.style:
                found.append((f"{prefix}{key.value}", value.value, key.start_mark.line + 1))
            left.append((f"{prefix}{key.value}.", value))
    return found


def lacking(key: str, arguments: Sequence[str]) -> str:
    """The person's own option file that was chosen for the node of a key without value, as a remedy; empty without."""
    node = key.partition(".")[0]
    own = (path for path, group in chosen(arguments) if group == node and not path.is_relative_to(CONF))
    return next((f", or in {path}: set it there, or begin with the defaults of another option." for path in own), "")


def line_of(key: str, arguments: Sequence[str]) -> str:
    """Where a chosen option file sets a key, as ` (FILE, line N)`; empty where none does."""
    for path, group in chosen(arguments):
        try:
            node = yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)
        except (OSError, ValueError, yaml.YAMLError):
            continue
        package = _package(path) or group.replace("/", ".")
        names = key.split(".") if package == "_global_" else key.removeprefix(f"{package}.").split(".")
        line = 0
        for name in names:
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            entry = next(((k, value) for k, value in pairs if k.value == name), None)
            if entry is None:
                break
            line, node = entry[0].start_mark.line + 1, entry[1]
        else:
            return f" ({path}, line {line})"
    return ""


def _fault(path: Path, group: str) -> str:
    """What is wrong with a file, as the end of a sentence that its path begins."""
    content = path.read_bytes()
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return " begins with a byte order mark, which is no part of a line: save it as UTF-8 without one"
    try:
        text = content.decode()
        node = yaml.compose(text, Loader=LOADER)
        _load(text)
    except UnicodeDecodeError as error:
        return f", line {content[: error.start].count(10) + 1}: it is not UTF-8"
    except yaml.YAMLError as error:
        return _unreadable(error, content.decode())
    usual = _header(group)
    begins = f"keys, below the line # @package {usual}" if usual else "keys"
    if not isinstance(node, yaml.MappingNode):
        return f" holds no key: an option file of {group} holds {begins}"
    header = _package(path)
    if usual and header is None:
        return f", line 1: the line # @package {usual} is missing, with which each option file of {group} begins"
    if usual == "_global_" and header not in {usual, *(key.rpartition(".")[0] for key in knobs())}:
        return f", line 1: # @package {header} is no place of a configuration; those of {group} say {usual}"
    for key, value in node.value if header == "_global_" else ():
        if key.value in _composed() and isinstance(value, yaml.ScalarNode) and not NO_SPACE.match(value.value):
            line, right = key.start_mark.line + 1, f"- override /{key.value}: {value.value}"
            return f", line {line}: an option of {key.value} is chosen in the defaults, as in {right}"
    odd = next((value for key, value in node.value if key.value == "defaults" and header == "_global_"), None)
    return (_odd_default(odd, group) if isinstance(odd, yaml.SequenceNode) else "") or _odd_entry(node)


def _odd_default(defaults: yaml.SequenceNode, group: str) -> str:
    """What is wrong with the defaults of a file that chooses for all groups."""
    overridden = ""
    for entry in defaults.value:
        line = entry.start_mark.line + 1
        if isinstance(entry, yaml.MappingNode):
            key, option = (part.value for part in entry.value[0])
            name = key.removeprefix("override ").lstrip("/")
            if name == group:
                return f", line {line}: an option of {group} to go on from stands there alone, as in - {option}"
            if not re.match(r"(override )?/", key):
                return f", line {line}: a group stands behind a slash there, as in - override /{name}: {option}"
            if not key.startswith("override ") and name in _composed():
                return f", line {line}: {name} is chosen already, which takes - override /{name}: {option}"
            overridden = overridden or f"{name} (line {line})"
        elif entry.value.startswith("/"):
            return f", line {line}: an option of {group} to go on from stands there alone, as in - {entry.value[1:]}"
        elif overridden and entry.value != "_self_":
            return (
                f", line {line}: {entry.value} stands in front of what overrides it, and here comes behind {overridden}"
            )
    return ""


@cache
def _composed() -> set[str]:
    """The groups of which every configuration has an option."""
    entries = yaml.load((CONF / "config.yaml").read_bytes(), Loader=LOADER)["defaults"]
    return {str(key) for entry in entries if isinstance(entry, dict) for key in entry}


def _odd_entry(node: yaml.MappingNode) -> str:
    for key, value in node.value:
        line = value.start_mark.line + 1
        if key.value == "defaults" and not isinstance(value, yaml.SequenceNode):
            return f", line {key.start_mark.line + 1}: defaults are a list, each with a dash before it"
        if isinstance(value, yaml.ScalarNode) and not value.style and NO_SPACE.match(value.value):
            return f", line {line}: {value.value} is one word; a colon wants a space behind it"
        if isinstance(value, yaml.MappingNode) and (found := _odd_entry(value)):
            return found
    return ""


def _load(text: str) -> None:
    """Raise what the configuration library raises of a key that stands twice."""

    class Once(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value}", key.start_mark)
            seen.add(str(key.value))
            loader.construct_object(value, deep=True)

    Once.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    yaml.load(text, Loader=Once)


def _unreadable(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]
    line = mark.line + 1 if mark else text[: getattr(error, "position", 0)].count("\n") + 1
    lines = text.splitlines()
    if mark and line <= len(lines) and lines[line - 1].strip(" ").startswith(TAB):
        problem = "found character '\\t'"
    for pattern, meaning in MEANINGS:
        if found := re.search(pattern, problem):
            return f", line {line}: {found.expand(meaning)}"
    return f", line {line}: it is no YAML ({problem})"


@cache
def _defaults(path: Path, group: str, changed: int) -> list[tuple[str, str]]:
    """What the defaults of a file choose, as (group, option); `changed` is when it last did."""
    try:
        content = yaml.load(path.read_bytes(), Loader=LOADER)
    except (OSError, ValueError, yaml.YAMLError):
        return []
    entries = content.get("defaults", []) if isinstance(content, dict) else []
    named = [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []
    places = [entry[1:] if entry.startswith("/") else f"{group}/{entry}" for entry in named]
    found = [(place.rpartition("/")[0], place.rpartition("/")[2].partition("@")[0]) for place in places]
    for entry in entries if isinstance(entries, list) else []:
        for key, option in entry.items() if isinstance(entry, dict) else []:
            name = str(key).removeprefix("override ").partition("@")[0]
            found.append((name.lstrip("/") if name.startswith("/") else f"{group}/{name}", str(option)))
    return found


def _package(path: Path) -> str | None:
    """The package that a file's header names; None where it has no header."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                return None
            if found := HEADER.match(line):
                return found[1]
    return None


def _header(group: str) -> str:
    """The package that the project's options of a group name; empty where they name none."""
    packages = (_package(path) for path in sorted((CONF / group).glob("*.yaml")))
    return next((package for package in packages if package), "")
