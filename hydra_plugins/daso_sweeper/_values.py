"""The values of an override with several, one by one."""

from hydra.core.override_parser.types import Glob, Override, RangeSweep

from daso.errors import UserError

MOST = 100_000  # values of one key


def single_values(override: Override) -> list[str]:
    """An override of one value for each of its values.

    Raises:
        UserError: it has none, has no end, or is a range for a search.
    """
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    given = override.value()
    require(override, override.is_discrete_sweep(), "a grid needs single values, or range(...)")
    require(override, not getattr(given, "tags", None), "a grid reads no tag(...)")
    if isinstance(given, RangeSweep):
        require_countable(override, given, MOST)
    found = [f"{key}={value}" for value in override.sweep_string_iterator()]
    nothing = "no option fits it" if isinstance(given, Glob) else "no value is in it; range(a,b) ends before b"
    require(override, bool(found), nothing)
    return found


def require_countable(override: Override, given: RangeSweep, most: int) -> None:
    """Refuse a range whose values cannot be counted.

    Raises:
        UserError: its step leads nowhere, or it has more than `most`.
    """
    assert given.start is not None
    assert given.stop is not None
    require(override, given.step != 0, "its step is 0")
    require(override, abs(given.stop - given.start) / abs(given.step) <= most, f"it has more than {most:,} values")


def require(override: Override, ok: bool, right: str) -> None:
    """Raise a `UserError` that shows an override as it was typed, and what would be right, unless `ok`."""
    if not ok:
        raise UserError(f"{override.input_line} is not possible: {right}.")
