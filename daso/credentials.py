"""Passwords and tokens stay out of whatever is shown or stored.

URLs that hold some come from the command line, an option file or the environment. They are held in this process's
environment, which the processes that it starts inherit, and stand everywhere else under a mask: `http://***@host`.
"""

import json
import os
import re
from collections.abc import Mapping, MutableSequence
from typing import Any

MASK = "***"
HELD = "DASO_CREDENTIALS"  # the variable: {masked URL: URL}, as JSON

ADDRESSES = ("track.uri", "tune.storage")  # keys whose values are URLs

SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*\\?://"  # with the backslash that Hydra writes
_WORDS = "password|passwd|passphrase|pwd|token|secret|credential|api_?key|access_?key|private_?key"
_TOLD = rf"(?<![\w.-])[\w.-]*(?:{_WORDS})[\w.-]*"  # a name that tells of a secret
_SHORT = "pass|key|auth|sig|signature|code|sid|session|odbc_connect"  # further ones, in the query of a URL

_USER = re.compile(rf"(?<![A-Za-z0-9+.-])({SCHEME})(?!/)((?:(?!{SCHEME})\S)*)@")
_QUERY = re.compile(rf"([?&;](?:{_TOLD}|{_SHORT})=)({{[^}}]*}}|[^\s&;#'\"]+)", re.IGNORECASE)
_NAMED = re.compile(
    rf"({_TOLD}[\"']?(?:\s*=\s*|:\s?|%3D))(?!{re.escape(MASK)})(\"[^\"]*\"|'[^']*'|{{[^}}]*}}|\S+)", re.IGNORECASE
)
_ADDRESS = re.compile(rf"(?P<key>[+~]{{0,2}}(?:{'|'.join(map(re.escape, ADDRESSES))})=)(?P<value>.+)", re.DOTALL)
_ESCAPED = re.compile(r"\\([\\()\[\]{}:=,\s])")  # in Hydra's grammar, outside quotes


def mask(text: str) -> str:
    """`text` with `***` in the place of credentials.

    Of a URL these are the password, under http also the name before it, which may be a token, and values of the query
    that are named like secrets; elsewhere what is assigned to such a name, as in `MLFLOW_TRACKING_TOKEN=...`. Where it
    cannot tell, it masks too much.
    """
    for masked, url in _held().items():
        text = text.replace(url, masked)
    text = _USER.sub(lambda found: f"{found[1]}{_user(found[1], found[2])}@", text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    return _NAMED.sub(rf"\1{MASK}", text)


def mask_all(value: Any) -> Any:
    """Nested dicts and lists with every text masked."""
    if isinstance(value, Mapping):
        return {key: mask_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_all(item) for item in value]
    if not isinstance(value, str):
        return value
    return mask_url(value) if re.match(SCHEME, value) else mask(value)


def mask_url(url: str) -> str:
    """As `mask`, of a text that is one URL and nothing else, whatever characters its password has."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    if at and not rest.startswith("/"):
        url = f"{scheme}{separator}{_user(f'{scheme}://', user)}@{place}"
    return mask(url)


def hold(url: str) -> str:
    """Keep a URL for `held`, and know it wherever `mask` meets it; returns its masked form."""
    masked = mask_url(url)
    if masked != url:
        os.environ[HELD] = json.dumps(_held() | {masked: url})
    return masked


def held(masked: str) -> str | None:
    """The URL that `hold` gave this masked form to, in this process or in one that started it."""
    return _held().get(masked)


def withhold(arguments: MutableSequence[str]) -> None:
    """Take the credentials of `ADDRESSES` off a command line, in place, before anything reads it.

    What is read afterwards, composed, handed to jobs and written down is the masked form. Values that refer to others
    (`${oc.env:PASSWORD}`) hold no secret yet and stay.
    """
    for place, argument in enumerate(arguments):
        found = _ADDRESS.fullmatch(argument)
        if found and "${" not in argument:
            urls = re.split(rf",(?=\s*['\"]?{SCHEME})", found["value"])
            arguments[place] = found["key"] + ",".join(map(_withheld, urls))


def _withheld(typed: str) -> str:
    """One URL of a command line, in quotes or not."""
    bare = typed.strip()
    quote = bare[0] if len(bare) > 1 and bare[0] in "'\"" and bare[-1] == bare[0] else ""
    url = bare[1:-1].replace(f"\\{quote}", quote) if quote else _ESCAPED.sub(r"\1", bare)
    masked = hold(url)
    return typed if masked == url else f"{quote}{masked}{quote}"


def _user(scheme: str, user: str) -> str:
    if scheme.lower().startswith("http"):
        return MASK
    name, colon, _ = user.partition(":")
    return f"{name}:{MASK}" if colon else user


def _held() -> dict[str, str]:
    found: dict[str, str] = json.loads(os.environ.get(HELD) or "{}")
    return found
