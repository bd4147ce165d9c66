"""Data sets as CSV files and as lines `path class`."""

import pytest

from daso.data.images import index_of
from daso.data.images.lists import read
from daso.errors import UserError
from tests import pictures

LABELED = "path,label\na.png,cat\nb.png,dog\nsub/c.png,cat\n"
TEST = "path,label\nt0.png,cat\nt1.png,dog\n"


@pytest.fixture
def root(tmp_path):
    names = ("a.png", "b.png", "sub/c.png", "u0.png", "u1.png", "u2.png", "t0.png", "t1.png", "v.png")
    return pictures.write(tmp_path / "photos", *names)


@pytest.fixture
def lists(tmp_path):
    """Writes lists into a folder of their own, and gives it back."""

    def write(**content):
        folder = tmp_path / "lists"
        folder.mkdir(exist_ok=True)
        for name, text in content.items():
            stem, _, ending = name.rpartition("_")
            (folder / f"{stem}.{ending}").write_text(text)
        return folder

    return write


def rows(index, name):
    return [index.paths[row] for row in index.rows(name)]


def test_images_have_the_classes_and_the_order_of_their_list(root, lists):
    index = index_of(read(root, lists(labeled_csv=LABELED, test_csv=TEST)))
    assert rows(index, "labeled") == ["a.png", "b.png", "sub/c.png"]
    assert index.names == ("cat", "dog")
    assert index.labels_of("labeled").tolist() == [0, 1, 0]
    assert index.labels_of("test").tolist() == [0, 1]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["path,label", "file_name,category", "Target,IMAGE", "id,image,class,width"])
def test_columns_have_the_names_that_people_give_them(root, lists, header, separator):
    names = header.lower().split(",")
    cells = {"path": 0, "file_name": 0, "image": 0, "label": 1, "category": 1, "target": 1, "class": 1}

    def line(*values):
        return separator.join(values[cells[name]] if name in cells else "7" for name in names)

    text = "\n".join([header.replace(",", separator), line("a.png", "cat"), line("b.png", "dog")])
    index = index_of(read(root, lists(labeled_csv=text, test_csv=TEST)))
    assert rows(index, "labeled") == ["a.png", "b.png"]


def test_quoted_cells_windows_lines_blank_lines_and_a_byte_order_mark_are_understood(root, lists):
    folder = lists(test_csv=TEST)
    (folder / "labeled.csv").write_bytes(b'\xef\xbb\xbfpath,label\r\n"a.png","big, cat"\r\n\r\n ./b.png , dog \r\n')
    index = index_of(read(root, lists(test_csv="path,label\nt0.png,dog\n")))
    assert rows(index, "labeled") == ["a.png", "b.png"]
    assert set(index.names) == {"big, cat", "dog"}


def test_one_list_may_hold_every_set(root, lists):
    text = "label,path,split\ncat,a.png,labeled\ndog,b.png,train\n,u0.png,unlabeled\ncat,t0.png,test\ndog,v.png,val\n"
    index = index_of(read(root, lists(index_csv=text)))
    sets = {name: rows(index, name) for name in ("labeled", "unlabeled", "valid", "test")}
    assert sets == {
        "labeled": ["a.png", "b.png"], "unlabeled": ["u0.png"], "valid": ["v.png"], "test": ["t0.png"],
    }  # fmt: skip


def test_lines_of_path_and_class_are_parted_at_the_last_blank(root, lists):
    pictures.write(root, "my photos/a b.png")
    folder = lists(
        labeled_txt="my photos/a b.png 0\nb.png 1\n",
        test_txt="t0.png 0\nt1.png 1\n",
        unlabeled_txt="u0.png -1\nu1.png\n",
    )
    index = index_of(read(root, folder))
    assert rows(index, "labeled") == ["my photos/a b.png", "b.png"]
    assert rows(index, "unlabeled") == ["u0.png", "u1.png"]


def test_labels_of_unlabeled_images_are_their_truth_and_nothing_else(root, lists):
    unlabeled = "path,label\nu0.png,dog\nu1.png,\nu2.png,-1\nv.png,out\n"
    index = index_of(read(root, lists(labeled_csv=LABELED, test_csv=TEST, unlabeled_csv=unlabeled)))
    assert index.truth.tolist() == [1, -1, -1, -2]
    assert index.labels_of("unlabeled").tolist() == [-1] * 4
    assert index.counts("unlabeled").tolist() == [0, 1]


def test_unlabeled_images_need_no_column_of_labels(root, lists):
    index = index_of(read(root, lists(labeled_csv=LABELED, test_csv=TEST, unlabeled_csv="path\nu0.png\nu1.png\n")))
    assert index.truth.tolist() == [-1, -1]


def test_a_truth_under_no_known_name_is_said_to_be_unread(root, lists):
    given = {"labeled_csv": LABELED, "test_csv": TEST}
    assert read(root, lists(**given, unlabeled_csv="path,klass\nu0.png,cat\n")).notes == (
        "unlabeled.csv has no column label or class or target or category: what its images show is unknown.",
    )
    assert read(root, lists(**given, unlabeled_csv="path\nu0.png\n")).notes == ()


def test_labels_are_strings(root, lists):
    index = index_of(
        read(root, lists(labeled_csv="path,label\na.png,01\nb.png,1\n", test_csv="path,label\nt0.png,1\n"))
    )
    assert set(index.names) == {"01", "1"}


def test_absolute_paths_lie_in_the_root_or_elsewhere(root, lists, tmp_path):
    pictures.write(tmp_path, "far.png")
    text = f"path,label\n{root}/a.png,cat\n{tmp_path}/far.png,dog\n"
    index = index_of(read(root, lists(labeled_csv=text, test_csv=TEST)))
    assert rows(index, "labeled") == ["a.png", f"{tmp_path}/far.png"]


def test_a_file_fixes_which_classes_there_are(root, lists):
    with pytest.raises(UserError, match=r"labeled.csv is not possible: it has no labeled image of class cow"):
        index_of(read(root, lists(labeled_csv=LABELED, test_csv=TEST, classes_txt="cat\ndog\ncow\n")))
    with pytest.raises(UserError, match=r"labeled.csv, line 3, is not possible: dog is none of the classes"):
        read(root, lists(classes_txt="cat\ncow\n"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"labeled_csv": ""}, "labeled.csv, line 1, is not possible: its first line has no column path or file_name"),
        ({"labeled_csv": "path,label\n,cat\n"}, "labeled.csv, line 2, is not possible: it names no image"),
        ({"labeled_csv": 'path,label\na.png,"cat\n'}, "labeled.csv, line 2, is not possible: it is no line of a CSV"),
        ({"labeled_csv": "path,label\n"}, "labeled.csv is not possible: it lists no image"),
        ({"labeled_csv": "path,label\na.png\n"}, "labeled.csv, line 2, is not possible: an image of the labeled set "
         "needs a class"),
        ({"labeled_csv": "path,label\na.png,-1\n"}, "line 2, is not possible: an image of the labeled set needs a class"),
        ({"test_csv": "path,klass\nt0.png,cat\n"}, "test.csv, line 1, is not possible: its first line has no column "
         "label or class or target or category, only path, klass"),
        ({"test_csv": "path,label\nt0.png,cow\n"}, "test.csv, line 2, is not possible: cow is none of the classes, "
         "which are cat, dog"),
        ({"test_csv": "path,label\nt0.png,CAT\n"}, "line 2, is not possible: CAT (did you mean cat?) is none of the"),
        ({"unlabeled_csv": "path,label\nu0.png,cow\n"}, "line 2, is not possible: cow is none of the classes, which are "
         "cat, dog; an image of none of them has the label out"),
        ({"test_csv": "path,label\nt0.png,cat\nt1.png,dog\nno.png,cat\nnone.png,cat\n"}, "test.csv, line 4, is not "
         "possible: no.png is not there (No such file or directory), and neither are 1 others"),
        ({"test_csv": "path,label\nt0\0.png,cat\n"}, "test.csv, line 2, is not possible: t0\0.png is not there (embedded "
         "null byte)"),
        ({"test_csv": "path,label\nt0.png,cat\na.png,cat\n"}, "test.csv, line 3, is not possible: a.png is the labeled "
         "image a.png ("),
        ({"labeled_csv": LABELED + "a.png,dog\n"}, "labeled.csv, line 5, is not possible: a.png is a.png ("),
        ({"index_csv": "path,label,split\n"}, "index.csv and labeled.csv both list labeled images, so one of them"),
        ({"train_txt": "a.png cat\n"}, "labeled.csv and train.txt both list labeled images, so one of them"),
        ({"classes_txt": "cat\ndog\ncat\n"}, "classes.txt, line 3, is not possible: class cat stands in it twice"),
    ],
)  # fmt: skip
def test_lists_that_cannot_be_used_end_in_one_sentence(root, lists, content, says):
    lists(labeled_csv=LABELED, test_csv=TEST)
    with pytest.raises(UserError) as caught:
        index_of(read(root, lists(**content)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\na.png,cat\n", "line 1, is not possible: its first line has no column split, only path, label"),
        ("path,label,split\na.png,cat,dev\n", "line 2, is not possible: dev is no split, which is one of labeled,"),
        ("path,label,split\na.png,cat\n", "line 2, is not possible: nothing is no split"),
    ],
)
def test_one_list_of_every_set_that_cannot_be_used_ends_in_one_sentence(root, lists, text, says):
    with pytest.raises(UserError, match=r"index\.csv, ") as caught:
        read(root, lists(index_csv=text))
    assert says in str(caught.value)


def test_bytes_that_are_no_text_are_named(root, lists):
    (lists(test_csv=TEST) / "labeled.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")
    with pytest.raises(UserError, match=r"labeled\.csv is not possible: it is no text in UTF-8"):
        read(root, lists())


def test_a_folder_without_lists_is_refused(root, lists):
    with pytest.raises(
        UserError, match=r"dataset\.lists=.*: there is no labeled\.csv, labeled\.txt or index\.csv in it"
    ):
        read(root, lists())
    with pytest.raises(UserError, match=r"dataset\.lists=.*: there is no such folder"):
        read(root, root / "nowhere")
