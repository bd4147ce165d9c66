"""Recorded runs: folders as a run leaves them, with numbers of our choice; and the tables that are made of them."""

import json
from dataclasses import replace

from daso.report.__main__ import make_table, make_tables
from daso.report.collect import collect
from daso.report.page import table_page
from daso.report.tables.render import as_csv, latex, markdown
from daso.report.tables.table import Options
from daso.report.where import Where
from daso.settings.compose import configuration
from daso.settings.identity import identified, to_yaml

C10 = ("dataset=cifar10", "imbalance=cifar10_n500_m4000_g100")
FIXMATCH, DASO, LA = ((*C10, f"algorithm={name}") for name in ("fixmatch", "fixmatch_daso", "fixmatch_la"))
HEADER = "method,setting,mean,std,n,protocol,source\n"
THEIRS = "DebiasPL,cifar10_n500_m4000_g100,80.6,0.5,3,usb,Wang et al. 2022\n"
FIELD = Where("cifar10", n1="500", gamma_l="100", gamma_u="100")
ALL = [("1", Where()), ("mine", Where()), ("field", FIELD)]
FORMATS = {"markdown": markdown, "latex": latex, "csv": as_csv, "html": table_page}
PLACE = ("CIFAR10-LT", "γ=100 N1=500 M1=4000")


def record(root, overrides, seed, top1=None, steps=None, **more):
    """A finished run, or one without a summary if `top1` is None; returns its folder."""
    config = replace(configuration(overrides), seed=seed)
    if steps is not None:
        config = replace(config, train=replace(config.train, steps=steps))
    config = identified(config)
    folder = root / config.run_key
    folder.mkdir(parents=True)
    (folder / "resolved.yaml").write_text(to_yaml(config))
    if top1 is not None:
        numbers = {f"test/top1{s}": top1 for s in ("", "_median20", "_mean20", "_best")}
        numbers |= {"test/bacc": top1, "warnings": []}
        (folder / "summary.json").write_text(json.dumps(numbers | more))
        (folder / "DONE").write_text("{}")
    return folder


def journal(folder, rows):
    """The evaluations of a run: (step, numbers)."""
    lines = [{"event": "eval", "step": step, "time/unix": float(step)} | numbers for step, numbers in rows]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def table(root, name="1", **options):
    return make_table(name, collect([root]), Options(**options))


def made(root, name, where=None, **options):
    """A table, or several where there is one a protocol."""
    return make_tables(name, collect([root]), Options(**options), where or Where())


def entry(made, row, place=PLACE):
    (column,) = [c for c in made.columns if tuple(c) == place]
    return made.entries[row, column]


def three(root, overrides, values, **more):
    for seed, value in enumerate(values):
        record(root, overrides, seed, value, **more)


METRICS = ("test/class", "pl/final/recall/class", "pl/final/precision/class")


def classes(value, names=METRICS):
    """Numbers of ten classes: `value` of the first, one more of each next."""
    return {f"{name}/{k}": value + k for name in names for k in range(10)}


def recorded(root):
    """Two seeds of two methods, with curves."""
    for overrides, top1 in ((FIXMATCH, 70.0), (DASO, 80.0)):
        for seed in (0, 1):
            folder = record(root, overrides, seed, top1 + seed, **classes(seed))
            journal(folder, [(500, classes(seed)), (1000, classes(seed + 10))])
    return collect([root])
