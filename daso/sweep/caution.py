"""What the runs of a sweep or a plan will warn of before they train, each sentence once."""

from collections import Counter
from collections.abc import Sequence

from daso.schema import Config
from daso.settings.unread import cautions
from daso.track.console import counted


def cautions_of(runs: Sequence[tuple[Config, Sequence[str]]]) -> list[str]:
    """The sentences of all runs, each with how many say it unless all do.

    Args:
        runs: configuration and overrides of each; no overrides of a run that they do not lead to.
    """
    counts = Counter(sentence for config, overrides in runs for sentence in cautions(config, overrides))
    return [
        sentence if count == len(runs) else f"{sentence} ({counted(count, 'run')} of {len(runs)})"
        for sentence, count in counts.items()
    ]
