"""The URLs of stores: what is wrong with one, which file it means, whether two mean the same. Read by SQLAlchemy and
the standard library, which are imported when first used."""

import os
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from daso.credentials import MASK, held, mask_url
from daso.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

VARIABLE = "MLFLOW_TRACKING_URI"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
# what MLflow's tracking URIs begin with; plugins add others
SCHEMES = (*DATABASES, *SERVERS, "databricks", "databricks-uc", "uc", "file")
FORMS = "as sqlite:///mlflow.db or http://host:5000"
ENCODE = "in a password, write / : @ # ? as %2F %3A %40 %23 %3F"
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def reveal(url: str) -> str:
    """A URL with its credentials: those of the command line that started this process or its parents, else those of the
    environment.

    Raises:
        UserError: it is masked, and nothing says what it was.
    """
    if MASK not in url:
        return url
    known, given = held(url), os.environ.get(VARIABLE, "")
    if known or mask_url(given) == url:
        return known or given
    place = url.replace(f"{MASK}@", "")
    says = any(os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "TOKEN"))
    if says and MASK not in place and place.startswith("http"):  # MLflow adds them by itself
        return place
    right = f"{MASK} stands for credentials, which are never written down: give the whole URL on the command line"
    raise UserError(f"{url} is not possible: {right}, or in {VARIABLE}.")


def flaw(uri: str) -> str:
    """What is wrong with the URL of a tracking store, and what would be right; empty if nothing can be told."""
    try:
        uri = reveal(uri)
    except UserError:  # told by whoever needs it
        return ""
    scheme = _scheme(uri)
    known = scheme in SCHEMES or scheme in entry_points(group="mlflow.tracking_store").names
    return malformed(uri) if known else f"a store that MLflow knows, {FORMS}"


def malformed(uri: str) -> str:
    """What is wrong with the form of the URL of a server or a database; empty if nothing is, and for all others.

    Whoever reads a malformed URL may quote, in an error, a piece of a password that no mask would know.
    """
    scheme = _scheme(uri)
    if scheme in DATABASES:
        url = parse(uri)
        if url is None or (scheme == "sqlite" and url.host):
            return "it is no URL of a database, as sqlite:///mlflow.db or postgresql://user@host/name"
        return f"its host would be {MASK}@...; {ENCODE}" if "@" in (url.host or "") else ""
    if scheme not in SERVERS:
        return ""
    try:
        parts = urlsplit(uri)
        readable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        readable = False
    return "" if readable else f"a server is written http://host:5000; {ENCODE}"


def parse(uri: str) -> "URL | None":
    """SQLAlchemy's reading of a URL; None if it cannot read it."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return make_url(uri)
    except (SQLAlchemyError, ValueError):
        return None


def sqlite_file(uri: str) -> Path | None:
    """The file that an SQLite database is in; None for one in memory and for every other store."""
    url = parse(uri) if uri.startswith("sqlite") else None
    if url is None or url.get_backend_name() != "sqlite" or not url.database:
        return None
    if not _is_uri(url):
        return None if url.database == ":memory:" else Path(url.database)
    path = unquote(urlsplit(url.database).path)
    return Path(path) if path and path != ":memory:" and url.query.get("mode") != "memory" else None


def absolute(uri: str) -> str:
    """`uri` with the absolute path of its SQLite file, driver and options kept; every other one as it is."""
    path, url = sqlite_file(uri), parse(uri) if uri.startswith("sqlite") else None
    if path is None or url is None or (path.is_absolute() and not _is_uri(url)):
        return uri
    if not _is_uri(url) or set(url.query) == {"uri"}:  # MLflow takes `file:` for a folder's name, and makes it
        return str(url.set(database=str(path.absolute())).difference_update_query(["uri"]))
    return str(url.set(database=f"file:{quote(str(path.absolute()))}"))


def same_store(one: str, other: str) -> bool:
    """Whether two URLs mean the same database, whatever drivers, options and credentials they name."""
    places = [_place(uri) for uri in (one, other)]
    return places[0] is not None and places[0] == places[1]


def _place(uri: str) -> Any:
    if (path := sqlite_file(uri)) is not None:
        return path.resolve()
    url = parse(uri)
    if url is None or not url.host:
        return None
    kind = url.get_backend_name()
    return kind, url.host.lower(), url.port or PORTS.get(kind), url.database


def _is_uri(url: "URL") -> bool:
    """Whether SQLite reads the database's name as a URI of its own (`file:...?uri=true`)."""
    asked = re.fullmatch("true|yes|on|y|t|1", str(url.query.get("uri", "")), re.IGNORECASE)
    return asked is not None and str(url.database).startswith("file:")


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].partition("+")[0]
