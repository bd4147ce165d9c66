"""The page of keys has each key that no method page has, and no other."""

import re
from pathlib import Path

import pytest

from daso.settings.identity import knobs
from tests.config.test_method_pages import NODES

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
OTHERS = [key for key in knobs() if key.partition(".")[0] not in NODES]


@pytest.mark.parametrize("key", OTHERS)
def test_every_key_of_no_method_is_on_the_page(key):
    assert f"`{key}`" in PAGE


def test_the_page_names_no_key_that_there_is_not():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`([a-z_]+\.[a-z_0-9]+)`", row)}
    assert named <= knobs().keys()
