"""Back from the text of `resolved.yaml` to a `Config`, also of another version's. Neither Hydra nor torch is needed."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, get_type_hints

from daso.errors import UserError
from daso.schema import OPTIONS, Config
from daso.settings.identity import plain, run_key


def unknown(told: Mapping[str, Any], config: Config, key: str) -> str:
    """Up to three knobs that this version does not know of a run; empty where it knows all that matters.

    A knob that it does not know is no obstacle where the run's key says that it has no effect.

    Args:
        told: the content of `resolved.yaml`.
        config: what `restore` made of it.
        key: of the run.
    """
    names = sorted(flat(told).keys() - flat(plain(config)).keys())
    return "" if not names or run_key(config) == key else ", ".join(names[:3])


def flat(node: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """A nested configuration by dotted keys."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, Mapping) else {path + key: value}
    return found


def restore(config: dict[str, Any]) -> Config:
    """The configuration that `resolved.yaml` describes; knobs that its version did not have take their defaults.

    Raises:
        UserError: it names an option that there is not, or is of another form.
    """
    try:
        restored = _restore(Config, config, "")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"its settings are of another form: {error}") from error
    assert isinstance(restored, Config)
    return restored


_hints = cache(get_type_hints)


def _restore(kind: Any, value: Any, name: str) -> Any:
    if name in OPTIONS and "name" in value:
        if value["name"] not in OPTIONS[name]:
            raise UserError(f"{name}={value['name']}")
        kind = OPTIONS[name][value["name"]]
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        nodes: dict[str, Any] = {
            f.name: {} for f in fields(kind) if is_dataclass(hints[f.name])
        }  # slots of later versions: absent
        known = {f.name for f in fields(kind)}
        return kind(**{key: _restore(hints[key], item, key) for key, item in (nodes | value).items() if key in known})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[value]
    return value
