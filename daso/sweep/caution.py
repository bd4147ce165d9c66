"""What is to be known of the settings of a sweep or a plan, each sentence once."""

from collections import Counter
from collections.abc import Sequence

from daso.schema import Config
from daso.settings.unread import cautions
from daso.track.console import counted


def cautions_of(runs: Sequence[tuple[Config, Sequence[str], bool]]) -> list[str]:
    """The sentences of all runs, each with how many say it unless all do.

    Args:
        runs: of each the configuration, the overrides, none where they do not lead to it, and whether it will train.
    """
    counts = Counter(sentence for run in runs for sentence in cautions(*run))
    return [
        sentence if count == len(runs) else f"{sentence} ({counted(count, 'run')} of {len(runs)})"
        for sentence, count in counts.items()
    ]
