"""A table as Markdown, LaTeX or CSV."""

import csv
import io
from collections.abc import Sequence

from daso.report.stats import Sample
from daso.report.table import Column, Entry, Number, Table

MISSING = "—"
SINGLE = 4  # up to so many columns of several data sets stand in one table
FIELDS = (
    *("table", "dataset", "setting", "method", "configuration", "metric"),
    *("mean", "std", "n", "seeds", "steps", "goal_steps", "marks", "rank", "p"),
    *("published_mean", "published_std", "difference", "usb_mean", "usb_std", "source", "remarks"),
)
TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "γl": r"$\gamma_l$",
    "γu": r"$\gamma_u$",
    "γ": r"$\gamma$",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "—": "---",
    "<": "$<$",
}


def markdown(table: Table) -> str:
    """The table, readable in a terminal as it stands."""
    parts = [f"## {table.title}"]
    blocks = _blocks(table)
    for heading, columns in blocks:
        parts += [f"### {heading}"] * bool(heading and len(blocks) > 1)
        head = ["method", *(_head(column, heading) for column in columns)]
        body = [[row, *(_markdown_cell(table, row, column) for column in columns)] for row in table.rows]
        parts.append(_grid([head, *body]))
    if any(entry.published for entry in table.entries.values()):
        usb = " / USB" if table.options.usb else ""
        parts.append(f"Cells: own / published{usb} / own minus published.")
    lists = (("Warnings", table.warnings), ("Notes", table.notes))
    parts += [f"{name}\n" + "\n".join(f"- {text}" for text in texts) for name, texts in lists if texts]
    parts += ["\n".join(f"[{number}] {text}" for number, text in enumerate(table.footnotes, 1))] * bool(table.footnotes)
    return "\n\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """The table for a paper; needs booktabs."""
    out = [f"% {table.title}; needs \\usepackage{{booktabs}}"]
    for heading, columns in _blocks(table):
        printed = any(table.entries[row, c].published for row in table.rows for c in columns)
        width = 3 if printed else 1
        out.append(f"\\begin{{tabular}}{{l{'c' * (width * len(columns))}}}\n\\toprule")
        heads = [f"\\multicolumn{{{width}}}{{c}}{{{_tex(_head(c, heading))}}}" for c in columns]
        out.append(" & ".join([_tex(heading or "method"), *heads]) + r" \\")
        if printed:
            out.append(" & ".join(["", *["own & paper & $\\Delta$"] * len(columns)]) + r" \\")
        out.append(r"\midrule")
        for row in table.rows:
            cells = [part for c in columns for part in _latex_cell(table, row, c)[:width]]
            out.append(" & ".join([_tex(row), *cells]) + r" \\")
        out.append("\\bottomrule\n\\end{tabular}\n")
    for kind, texts in (("Warning", table.warnings), ("Note", table.notes)):
        out += [f"% {kind}: {text}" for text in texts]
    out += [f"% [{number}] {text}" for number, text in enumerate(table.footnotes, 1)]
    return "\n".join(out) + "\n"


def as_csv(table: Table) -> str:
    """One line a cell, with everything that is known about it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in table.rows:
        for column in table.columns:
            entry = table.entries.get((row, column))
            if entry is not None:
                writer.writerow([table.title, column.group, column.label, row, *_fields(table, entry)])
    return stream.getvalue()


def own_text(sample: Sample, decimals: int) -> str:
    """An own number, e.g. `76.1 ± 0.42`."""
    return number_text(Number(sample.mean, sample.std), decimals)


def number_text(number: Number | None, decimals: int) -> str:
    """A mean and its deviation; a dash for none."""
    if number is None:
        return MISSING
    return f"{number.mean:.{decimals}f}" + (f" ± {number.std:.2f}" if number.std is not None else "")


def difference_text(entry: Entry, decimals: int) -> str:
    """Own minus published, with its sign; a dash where there is none."""
    if entry.difference is None:
        return MISSING
    return f"{round(entry.difference, decimals) + 0.0:+.{decimals}f}"  # never -0.0


def count_text(table: Table, entry: Entry) -> str:
    """Number of seeds, steps where they are too few, p against the baseline: `(3, p=0.012)`."""
    sample = entry.sample
    if sample is None:
        return ""
    facts = [str(sample.n)]
    facts += [f"{sample.steps} of {sample.goal} steps"] * (sample.steps < sample.goal)
    if entry.p is not None:
        facts.append("p<0.001" if entry.p < 0.001 else f"p={entry.p:.3f}")
    return f"({', '.join(facts)}){entry.marks(table.options.min_seeds)}"


def _markdown_cell(table: Table, row: str, column: Column) -> str:
    entry = table.entries.get((row, column))
    if entry is None:
        return ""
    own = MISSING
    if entry.sample is not None:
        value = own_text(entry.sample, table.decimals)
        value = {1: f"**{value}**", 2: f"<u>{value}</u>"}.get(entry.rank, value)
        own = f"{value} {count_text(table, entry)}"
    if entry.published is None:
        return own
    published = number_text(entry.published, table.decimals) + "".join(f" [{number}]" for number in entry.footnotes)
    usb = [number_text(entry.usb, table.decimals)] * table.options.usb
    return " / ".join([own, published, *usb, difference_text(entry, table.decimals)])


def _latex_cell(table: Table, row: str, column: Column) -> list[str]:
    entry = table.entries.get((row, column))
    if entry is None:
        return ["", "", ""]
    own = _tex(MISSING)
    if entry.sample is not None:
        value = _tex(own_text(entry.sample, table.decimals))
        value = {1: f"\\textbf{{{value}}}", 2: f"\\underline{{{value}}}"}.get(entry.rank, value)
        own = f"{value} {_tex(count_text(table, entry))}"
    return [own, _tex(number_text(entry.published, table.decimals)), _tex(difference_text(entry, table.decimals))]


def _fields(table: Table, entry: Entry) -> list[object]:
    sample, published = entry.sample, entry.published
    own: list[object] = [""] * 7
    if sample is not None:
        std = "" if sample.std is None else round(sample.std, 4)
        seeds = " ".join(map(str, sample.values))
        own = [round(sample.mean, 4), std, sample.n, seeds, sample.steps, sample.goal]
        own.append(entry.marks(table.options.min_seeds))
    remarks = [table.footnotes[number - 1] for number in entry.footnotes] + list(sample.troubles if sample else ())
    return [
        entry.configuration,
        entry.metric,
        *own,
        entry.rank or "",
        "" if entry.p is None else round(entry.p, 6),
        *_pair(published),
        "" if entry.difference is None else round(entry.difference, 4),
        *_pair(entry.usb),
        entry.source,
        "; ".join(remarks),
    ]


def _pair(number: Number | None) -> list[object]:
    return ["", ""] if number is None else [number.mean, "" if number.std is None else number.std]


def _blocks(table: Table) -> list[tuple[str, list[Column]]]:
    """The table in one piece, or one piece a data set where it would be too wide."""
    groups = table.groups
    if len(groups) == 1 or len(table.columns) > SINGLE:
        return list(groups.items())
    return [("", table.columns)]


def _head(column: Column, heading: str) -> str:
    return column.label if heading else f"{column.group} {column.label}"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _tex(text: str) -> str:
    for sign, code in TEX.items():
        text = text.replace(sign, code)
    return text
