"""What a study searches: ranges on the command line as distributions of Optuna's, or a sentence."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    DiscreteUniformDistribution,
    IntLogUniformDistribution,
    IntUniformDistribution,
    LogUniformDistribution,
    UniformDistribution,
)

from daso.errors import UserError
from daso.schema import Config
from daso.settings.identity import knobs
from daso.settings.unread import reader_of
from hydra_plugins.daso_sweeper._values import require, require_countable

LOG = "log"  # the tag of a logarithmic scale
EXACT = 2**53  # whole numbers up to it are floats as well


class Searched(NamedTuple):
    """A key that is searched."""

    line: str  # as it was typed
    distribution: BaseDistribution

    def values(self) -> tuple[Any, ...]:
        """Every choice, or both ends of a range."""
        choices = getattr(self.distribution, "choices", None)
        return choices or (self.distribution.low, self.distribution.high)


def parse(lines: Sequence[str], loader: ConfigLoader | None = None) -> tuple[dict[str, Searched], list[str]]:
    """Split overrides into the search space, by key, and the fixed ones; the last one of a key counts.

    Args:
        lines: the overrides.
        loader: knows the options that a pattern fits.

    Raises:
        UserError: a range is none.
    """
    space: dict[str, Searched] = {}
    fixed: dict[str, str] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(lines)):
        key = override.get_key_element()
        space.pop(key, None)
        fixed.pop(key, None)
        if override.is_sweep_override():
            space[key] = Searched(str(override.input_line), distribution(override))
        else:
            fixed[key] = str(override.input_line)
    return space, [line for key, line in fixed.items() if key != "seed"]


def idle(space: Mapping[str, Searched], configured: Callable[[Mapping[str, Any]], Config | UserError]) -> list[str]:
    """Sentences about choices and ends of ranges with which other keys that are searched change no run.

    Args:
        space: what is searched.
        configured: the configuration with a value of each key, or why there is none.
    """
    first = {key: searched.values()[0] for key, searched in space.items()}
    found = []
    for key, searched in space.items():
        configs = {value: configured(first | {key: value}) for value in searched.values()}
        unread = {
            value: {other: reader for other in space if (reader := reader_of(config, other))}
            for value, config in configs.items()
            if isinstance(config, Config)
        }
        always = set.intersection(*(set(readers) for readers in unread.values())) if unread else set()
        for value, readers in unread.items():
            if others := [other for other in readers if other not in always]:
                what = f"With {key}={value} no value of {', '.join(others)} changes a run"
                found.append(f"{what}: only {readers[others[0]]} reads {'it' if len(others) == 1 else 'them'}.")
    return found


def distribution(override: Override) -> BaseDistribution:
    """What the values of a key are drawn from.

    Raises:
        UserError: nothing can be.
    """
    given = override.value()
    tags = set(getattr(given, "tags", ()))
    known = {LOG} if isinstance(given, IntervalSweep) else set()
    require(override, tags <= known, "the only tag is that of tag(log, interval(a,b))")
    require(override, not getattr(given, "shuffle", False), "a search takes values in no order; leave out shuffle(...)")
    if isinstance(given, IntervalSweep):
        return _interval(override, given, LOG in tags)
    if isinstance(given, RangeSweep):
        return _steps(override, given)
    choices = [str(c) if isinstance(c, dict | list) else c for c in override.sweep_iterator(Transformer.encode)]
    require(override, bool(choices), "no option fits it")
    twice = next((c for i, c in enumerate(choices) if c in choices[:i]), None)
    require(override, twice is None, f"it names {twice} twice")
    return CategoricalDistribution(choices)


def _interval(override: Override, given: IntervalSweep, log: bool) -> BaseDistribution:
    low, high = given.start, given.end
    assert low is not None
    assert high is not None
    _ascending(override, low, high, "interval({},{})")
    require(override, math.isfinite(high - low), "its ends are too far apart")
    require(override, not log or low > 0, "a logarithmic scale has a lower end above 0")
    knob = knobs().get(override.key_or_group)
    if (knob is not None and knob.type is int) or isinstance(low, int):
        whole = float(low).is_integer() and float(high).is_integer()
        require(override, whole, f"{override.key_or_group} is a whole number, and so are both ends")
        require(override, max(abs(low), abs(high)) <= EXACT, f"its ends are beyond {EXACT:,}")
        return (IntLogUniformDistribution if log else IntUniformDistribution)(int(low), int(high))
    return (LogUniformDistribution if log else UniformDistribution)(low, high)


def _steps(override: Override, given: RangeSweep) -> BaseDistribution:
    low, high, step = given.start, given.stop, given.step
    assert low is not None
    assert high is not None
    _ascending(override, low, high, "range({},{},{})")
    require_countable(override, given, EXACT)
    require(override, step > 0, "its step is not above 0")
    steps = (Decimal(str(high)) - Decimal(str(low))) / Decimal(str(step))
    last = Decimal(str(low)) + int(steps) * Decimal(str(step))
    right = f"both ends belong to a search, and its steps end at {last}"
    require(override, steps == int(steps), right)
    if all(isinstance(number, int) for number in (low, high, step)):
        return IntUniformDistribution(low, high, step)
    return DiscreteUniformDistribution(low, high, step)


def _ascending(override: Override, low: float, high: float, form: str) -> None:
    """Refuse ends that leave nothing to draw from."""
    require(override, math.isfinite(low) and math.isfinite(high), "its ends are no numbers to draw between")
    require(override, low != high, f"there is nothing to search between equal ends; set {override.key_or_group}={low}")
    require(override, low < high, "the lower end comes first")
