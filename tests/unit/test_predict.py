"""`python -m daso.predict`: a line an image, a table of all, broken files named; and a file for torch alone."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import daso
from daso.data.sources.readers import digits
from daso.machine.streams import STARTS
from daso.predict import main
from tests.unit.test_trained import METHODS, finished


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("runs"), *METHODS["a corrected answer"])


@pytest.fixture
def folder(tmp_path):
    """Three digits, one of them deeper down, a text, and a file that is no image."""
    for number, name in enumerate(["b.png", "a.png", "below/c.PNG"]):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits({}).test_x[number, 0]).save(tmp_path / "images" / name)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path / "images"


def test_every_image_has_a_line_with_its_class(corrected, folder, capsys):
    assert main([str(corrected), str(folder), str(folder / "b.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    trained = daso.load(corrected)
    paths = [folder / name for name in ("a.png", "b.png", "below/c.PNG", "b.png")]
    p = trained.predict(paths)
    assert lines == [f"{path}  {row.argmax()}  {row.max():.3f}" for path, row in zip(paths, p)]


def test_latest_is_called_by_name_and_folder_and_another_run_is_not(corrected, folder, capsys):
    for run, says in (
        ("latest", [f"latest is digits fixmatch_cdmad N1=20 gl=10 gu=1 s0, in {corrected}"]),
        (corrected.name, []),
    ):
        assert main([run, str(folder / "a.png"), f"out_root={corrected.parent}"]) == 0
        assert capsys.readouterr().err.splitlines()[1:] == says


def test_a_table_has_all_classes_and_broken_files_are_named(corrected, folder, tmp_path, capsys):
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:60])
    out = tmp_path / "predictions.csv"
    assert main([corrected.name, str(folder), f"out={out}", f"out_root={corrected.parent}"]) == 1
    said = capsys.readouterr()
    first, bad, how_many = said.err.splitlines()
    assert first == STARTS
    assert bad.startswith(f"{folder / 'bad.png'} is damaged (")
    assert how_many == "1 of 4 files could not be used."
    assert "3 images by digits fixmatch_cdmad" in said.out
    assert main([str(corrected), str(folder / "b.png"), f"out={tmp_path / 'one.csv'}"]) == 0
    assert "1 image by digits fixmatch_cdmad" in capsys.readouterr().out
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(folder / name) for name in ("a.png", "b.png", "below/c.PNG")]
    p = daso.load(corrected).predict([row["path"] for row in rows])
    np.testing.assert_allclose([[float(row[f"p/{k}"]) for k in range(10)] for row in rows], p, rtol=1e-4)
    assert [row["class"] for row in rows] == [str(k) for k in p.argmax(1)]
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["out=x.csv"], "A run is missing: python -m daso.predict RUN IMAGES..., or RUN export=net.pt2."),
        (["{run}"], "What shall run {run} look at? Name images, folders of images, or export=net.pt2."),
        (["{run}", "nosuch.png"], "nosuch.png is not possible: there is no such file or folder."),
        (["{run}", "{empty}"], "{empty} is not possible: this folder holds no image."),
        (["{run}", "--out-root", "x"], "--out-root is not possible: write out_root=x."),
        (["{run}", "{image}", "--out=x.csv"], "--out=x.csv is not possible: write out=x.csv."),
        (["{run}", "-o", "x"], "-o is not possible: options are out=, export=, out_root=, device=."),
        (["{run}", "output=x"], "output=x is not possible: options are out=, export=, out_root=, device=."),
        (["{run}", "{image}", "out=/nosuch/x.csv"], "out=/nosuch/x.csv is not possible: there is no folder /nosuch."),
        (["{run}", "export=net.onnx"], "export=net.onnx is not possible: a network is written as .pt2."),
        (["{run}", "{image}", "out=x.xlsx"], "out=x.xlsx is not possible: a table of answers is written as .csv."),
    ],
)
def test_a_mistake_is_a_sentence(arguments, sentence, corrected, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    words = {"run": corrected, "empty": tmp_path / "empty", "image": folder / "a.png"}
    assert main([argument.format(**words) for argument in arguments]) == 2
    assert capsys.readouterr().err.removeprefix(f"{STARTS}\n") == sentence.format(**words) + "\n"


ALONE = """
import json, sys, torch
extra = {"daso.json": ""}
program = torch.export.load("net.pt2", extra_files=extra)
assert not any(name.startswith("daso") for name in sys.modules)
images = torch.load("images.pt")
torch.save([program.module()(images[:n]) for n in (1, 2, 500)], "answers.pt")
print(extra["daso.json"])
"""


def test_torch_alone_loads_the_file_and_answers_the_same(corrected, tmp_path, capsys):
    assert main([str(corrected), f"export={tmp_path / 'net.pt2'}"]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / 'net.pt2'}: digits fixmatch_cdmad ")
    images = digits({}).test_x
    torch.save(torch.from_numpy(images), tmp_path / "images.pt")
    command = [sys.executable, "-I", "-c", ALONE]  # isolated: no folder of ours is on the path
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told, trained = json.loads(done.stdout), daso.load(corrected)
    assert told["input"]["shape"] == ["batch", 1, 8, 8]
    assert (told["classes"], told["metrics"]) == (trained.classes, trained.metrics)
    for n, answers in zip((1, 2, 500), torch.load(tmp_path / "answers.pt")):
        np.testing.assert_allclose(answers, trained.predict(images[:n, 0]), atol=1e-6)


@pytest.mark.parametrize(
    "what", ["resized images", "another head", "the second of three heads", "a classifier outside the network"]
)
@pytest.mark.filterwarnings("error")  # torch's of weights on several devices, which these are not
def test_what_answers_is_inside_the_file(what, tmp_path):
    trained = daso.load(finished(tmp_path, *METHODS[what]))
    program = torch.export.load(trained.export(tmp_path / "net.pt2")).module()
    images = digits({}).test_x[:5]
    np.testing.assert_allclose(program(torch.from_numpy(images)), trained.predict(images[:, 0]), atol=1e-6)


def test_the_page_s_python_runs(corrected, folder, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "predict.md").read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").symlink_to(corrected.parent)
    for name in ("zero/0.png", "four/4.png"):
        (tmp_path / "photos" / "test" / name).parent.mkdir(parents=True)
        shutil.copy(folder / "a.png", tmp_path / "photos" / "test" / name)
    daso.load(corrected).export("net.pt2")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert names["probabilities"].shape == (5, 10)
