"""Runs of three methods, and a file of results of other code, that tests of tables share and leave as they are."""

import pytest

from tests.report.fake import DASO, FIXMATCH, HEADER, LA, THEIRS, recorded, three


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    three(root, FIXMATCH, (70.0, 72.0, 74.0))
    three(root, DASO, (75.0, 77.0, 76.0))
    three(root, LA, (71.0, 73.0, 75.0))
    return root


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(HEADER + THEIRS)
    return path


@pytest.fixture
def runs(tmp_path):
    return recorded(tmp_path / "runs")
