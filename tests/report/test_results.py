"""The table of docs/results.md is that of the runs that are kept beside it, and tables of own results name their CPU."""

import csv
import io
import re
import statistics
from pathlib import Path

from multirun_scripts import field_results

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROWS = list(csv.DictReader(io.StringIO((DOCS / "results/field_fashion_mnist.csv").read_text())))


def test_the_page_shows_the_table_of_the_file():
    assert field_results.table(field_results.kept()) in (DOCS / "results.md").read_text()


def test_a_run_of_each_method_setting_and_seed_stands_in_the_file_once():
    assert len({(row["method"], row["imbalance"], row["seed"]) for row in ROWS}) == len(ROWS)
    assert {row["steps"] for row in ROWS} == {"800"}


def test_a_cell_is_the_mean_and_the_sample_deviation_of_its_seeds():
    rows = [
        {"method": method, "imbalance": imbalance, "seed": str(seed), "test/bacc": str(bacc), "test/top1_median20": "1"}
        for method, imbalance, found in (
            ("supervised_la", "N1=500 gl=100 gu=100", (70, 71, 75)),
            ("fixmatch", "N1=500 gl=100 gu=1/100", (50, 60)),
        )
        for seed, bacc in enumerate(found)
    ]
    header, _, first, second = field_results.table(rows).splitlines()
    assert header.count("|") == first.count("|") == 8
    alone = f"72.0 ± {statistics.stdev((70, 71, 75)):.1f}"
    assert first.startswith(f"| Supervised + LA | {alone} | {alone} | {alone} | 1.0 ± 0.0 |")
    assert second.startswith("| FixMatch | — | — | 55.0 ± 7.1 (2) | — |")


def test_beside_each_table_of_own_results_stands_what_another_kind_of_cpu_makes_of_it():
    readme = (DOCS.parent / "README.md").read_text()
    quickstart, results = (readme.split(f"\n## {name}\n")[1].split("\n## ")[0] for name in ("Quickstart", "Results"))
    parts = [*re.split(r"\n### ", quickstart), *re.split(r"\n\*\*(?=[A-Z])", results)[1:]]
    tables = [part for part in parts if "±" in part or "\n| seed |" in part]
    assert len(tables) == 6
    for part in tables:
        kinds = re.findall(r"(?:AMD EPYC|Intel Xeon)(?: with(?:out)? AVX-512)?", " ".join(part.split()))
        assert len(set(kinds)) > 1, part
