"""Index files as other programs write them: what can mean one thing only is taken, the rest refused by line."""

import codecs
import io

import numpy as np
import pytest

from daso.data.row_files import read
from daso.errors import UserError

ROWS = [12, 7, 40000]


def written(tmp_path, content):
    path = tmp_path / "labeled.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def saved(rows, **how):
    """What NumPy writes."""
    text = io.StringIO()
    np.savetxt(text, rows, **how)
    return text.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        "12\n7\n40000",
        "12\r\n7\r\n40000\r\n",  # Windows
        "12\r7\r40000\r",
        "\n\n12\n \n7\n40000\n\n\n",
        "  12  \n\t7\n40000\t \n",
        "12,\n7,\n40000,\n",
        '"12"\n"7"\n"40000"\n',
        "12.0\n7.0\n40000.0\n",
        "12.\n7.\n40000.\n",
        codecs.BOM_UTF8 + b"12\n7\n40000\n",
        codecs.BOM_UTF8 + b"12\n" + codecs.BOM_UTF8 + b"7\n40000\n",  # two files joined
        "12\n7\n40000\n".encode("utf-16"),  # Windows PowerShell
        codecs.BOM_UTF16_BE + "12\n7\n40000\n".encode("utf-16-be"),
        "# rows of seed 0\n12\n7\n# 5\n40000\n",
        "index\n12\n7\n40000\n",
        "\n Row \n12\n7\n40000\n",
        saved(ROWS),
        saved(ROWS, fmt="%d"),
        saved(ROWS, fmt="%.1f", header="labeled images"),
        saved(ROWS, fmt="%d", newline="\r\n"),
    ],
)
def test_one_row_a_line_is_read_however_it_was_written(tmp_path, content):
    found = read(written(tmp_path, content))
    assert found.rows.tolist() == ROWS
    assert found.labels is None


@pytest.mark.parametrize(
    "content",
    [
        "12 3\n7 0\n40000 -1\n",
        "12,3\n7,0\n40000,-1\n",
        "12, 3\n7, 0\n40000, -1\n",
        "12\t3\n7\t0\n40000\t-1\n",
        "12;3\r\n7;0\r\n40000;-1\r\n",
        "row,label\n12,3\n7,0\n40000,-1\n",
        "Index Class\n12 3\n7 0\n40000 -1\n",
        saved(np.array([ROWS, [3, 0, -1]]).T),
        saved(np.array([ROWS, [3, 0, -1]]).T, delimiter=",", header="row,label"),
    ],
)
def test_a_second_column_is_no_row(tmp_path, content):
    found = read(written(tmp_path, content))
    assert found.rows.tolist() == ROWS
    assert found.labels.tolist() == [3, 0, -1]


def test_lines_are_counted_as_an_editor_does(tmp_path):
    found = read(written(tmp_path, "# a comment\r\nrow\r\n\r\n12\r\n7\r\n"))
    assert found.lines.tolist() == [4, 5]
    assert found.line_of(7) == 5


@pytest.mark.parametrize("content", ["", "\n \n", "# nothing\n", "row label\n", codecs.BOM_UTF8])
def test_a_file_without_rows_has_none(tmp_path, content):
    assert read(written(tmp_path, content)).rows.size == 0


def test_no_file_has_no_rows(tmp_path):
    assert read(tmp_path / "valid.txt").rows.size == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("12\nthree\n", "three is no row number (line 2)"),
        ("12\n-7\n", "-7 is no row number (line 2)"),
        ("12\n+7\n", "+7 is no row number (line 2)"),
        ("12\n7.5\n", "7.5 is no row number (line 2)"),
        ("12\n1e300\n", "1e300 is no row number (line 2)"),
        ("12\nnan\n", "nan is no row number (line 2)"),
        ("12\n1_000\n", "1_000 is no row number (line 2)"),
        ("12\n\u0663\n", r"\u0663 is no row number (line 2)"),
        ("12\n\u200b7\n", r"\u200b7 is no row number (line 2)"),
        (f"12\n{10**23}\n", "10000000000000000000 is no row number (line 2)"),
        ("12\n7 cat\n", "cat is no row number (line 2)"),
        ("label row\n3 12\n", "label is no row number (line 1)"),
        ("row label split\n12 3 0\n", "row is no row number (line 1)"),
        ("12\nrow\n7\n", "row is no row number (line 2)"),
        ("[12, 7]\n", "[12 is no row number (line 1)"),
        ("12\n7 3\n", "line 2 holds 2 numbers, and those before it 1"),
        ("12 3\n7\n", "line 2 holds 1 number, and those before it 2"),
        ("12 3 0\n", "line 1 holds 3 numbers;"),
        ("12 7 40000 5\n", "line 1 holds 4 numbers;"),
        ("12\n7\n5\n12\n", "row 12 stands in it twice, in lines 1 and 4"),
        ("12 3\n12 3\n", "row 12 stands in it twice, in lines 1 and 2"),
        (b"\x93NUMPY\x01\x00", r"\ufffdNUMPY\x01\x00 is no row number (line 1)"),
        ("12\n7\n".encode("utf-16-le"), r"1\x002\x00 is no row number (line 1)"),
    ],
)
def test_the_rest_is_refused_by_file_and_line(tmp_path, content, says):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as refusal:
        read(path)
    message = str(refusal.value)
    assert message.startswith(f"{path} is not possible: ")
    assert says in message
    assert message.isascii()
    assert message.count("\n") == 0


def test_a_folder_in_a_files_place_is_a_sentence(tmp_path):
    (tmp_path / "labeled.txt").mkdir()
    with pytest.raises(UserError, match=r"labeled\.txt cannot be read: is a directory"):
        read(tmp_path / "labeled.txt")
