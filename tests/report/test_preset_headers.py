"""The first lines of a preset name the cell and the number that the paper prints."""

import re
from pathlib import Path

import pytest

from daso.published.cells import TABLES, cells
from daso.settings.options import groups

CONF = Path(__file__).parents[2] / "conf" / "algorithm"
PUBLISHED = {cell.overrides[2] for table in TABLES for cell in cells(table)}


def header(preset):
    return (CONF / f"{preset}.yaml").read_text().splitlines()[:3]


@pytest.mark.parametrize("preset", groups()["algorithm"])
def test_the_number_in_a_preset_s_first_lines_is_its_cell_s(preset):
    paper, command, published = header(preset)
    chosen = f"algorithm={preset}"
    if chosen not in PUBLISHED:
        own = r"# Published: \d+\.\d+( \+- \d\.\d+)? \(test/\w+, protocol \w+: .+\)"  # another paper's number
        assert re.fullmatch("# Published: none" if paper.endswith("Paper: no cell") else own, published)
        return
    table = re.search(r"Paper: Table (\d+), ", paper)[1]
    words = {"dataset=cifar10", *command.split()}
    [found] = [c for c in cells(table) if {*c.overrides[:3]} <= words]
    spread = "" if found.std is None else f" +- {found.std:.2f}"
    assert published.startswith(f"# Published: {found.mean:.1f}{spread} (")
    assert re.search(r"N1=\d+", paper)[0] == f"N1={found.setting.n1}"
    assert paper.endswith(f"gamma {found.setting.gamma_l}")
