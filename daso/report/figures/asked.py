"""What is asked of a figure, and what is to be drawn for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from daso.report.collect import Run
from daso.report.figures.canvas import Form, Series
from daso.report.figures.specs import Spec
from daso.report.match import Configure
from daso.report.names import paper_setting
from daso.report.tables.finish import SEVERAL
from daso.report.tables.finish import choose as choose_rows
from daso.report.tables.table import Options, no_row
from daso.report.where import ANYWHERE, Where

Notes = dict[str, None]  # in their order, each once


class Asked(NamedTuple):
    """What a person asks of a figure."""

    name: str  # the paper's number
    runs: Sequence[Run]
    options: Options
    configure: Configure
    form: Form
    where: Where = ANYWHERE

    def setting(self, words: str) -> str:
        """A setting in the letters that are asked for."""
        return paper_setting(words) if self.form.printed else words


class Picture(NamedTuple):
    """What is to be drawn."""

    spec: Spec
    series: Sequence[Series]
    classes: int
    told: Sequence[str]  # its title, and what there is to say against it
    path: Path  # without suffix


def chosen_rows(names: Mapping[str, Sequence[str]], options: Options) -> list[str]:
    """The methods that are asked for among those that have these names; all of them where there is none.

    Raises:
        UserError: none has one of these names.
    """
    rows, unknown = choose_rows(list(names), options.rows if names else (), names.__getitem__)
    for name in unknown:
        raise no_row("rows", name.strip(), [known[0] for known in names.values()], SEVERAL)
    return rows
