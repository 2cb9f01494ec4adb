# SPDX-License-Identifier: Apache-2.0
"""The terminal's table, the JSON file, and the HTML page with plots by gnuplot."""

import html
import json
import pathlib
import shutil
import subprocess

from figures import BASE

# The metrics that a table of the terminal has, in this order; the others are in JSON and HTML.
COLUMNS = (
    ("messages_per_cpu_s", "msg/CPU-s"),
    ("megabytes_per_cpu_s", "MB/CPU-s"),
    ("megabytes_per_cpu_s_of_all", "MB/CPU-s of all"),
    ("messages_per_s", "msg/s"),
    ("p50_us", "p50 us"),
    ("p99_us", "p99 us"),
    ("p99_9_us", "p99.9 us"),
    ("switches_per_message", "switches/msg"),
    ("instructions_per_message", "instr/msg"),
    ("instructions_per_kib", "instr/KiB"),
    ("user_instructions_per_kib", "user instr/KiB"),
    ("machine_instructions_per_kib", "machine instr/KiB"),
    ("machine_stored_share", "machine rep movs/byte"),
    ("system_calls_per_message", "syscalls/msg"),
    ("allocations_per_message", "allocs/msg"),
    ("copied_share", "copied/byte"),
    ("kernel_copied_share", "kernel copied/byte"),
    ("own_copied_share", "sluice copied/byte"),
    ("delivered_share", "delivered/sent"),
    ("resident_bytes_each", "bytes each"),
    ("accept_us_each", "accept us"),
    ("accept_cpu_us_each", "accept CPU us"),
    ("ns", "ns"),
)


def number(value):
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 10 else f"{value:.3f}"


def spread(record):
    """Half the distance of the quartiles, in per cent of the median."""
    if not record["median"] or record["rounds"] < 2:
        return ""
    return f" ±{50 * (record['q3'] - record['q1']) / abs(record['median']):.0f}%"


def rows(records):
    """Header and rows of one workload, each a list of texts."""
    by_metric = {name: {r["contestant"]: r for r in records if r["metric"] == name}
                 for name, _ in COLUMNS}
    shown = [(name, title) for name, title in COLUMNS if by_metric[name]]
    header = ["contestant"]
    for name, title in shown:
        header += [title, "to raw"] if BASE in by_metric[name] else [title]
    result = [header]
    for contestant in dict.fromkeys(r["contestant"] for r in records):
        row = [contestant]
        for name, _ in shown:
            record = by_metric[name].get(contestant)
            row.append(number(record["median"]) + spread(record) if record else "-")
            if BASE in by_metric[name]:
                ratio = record and record["ratio_to_raw"]
                row.append(f"{ratio:.2f}" if ratio is not None else "-")
        result.append(row)
    return result


def table(records):
    lines = rows(records)
    widths = [max(len(row[i]) for row in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(w) if i == 0 else text.rjust(w)
                  for i, (text, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in lines)


def markdown(records):
    """The tables of all workloads, as docs/performance.md has them."""
    parts = []
    for suite, workload in dict.fromkeys((r["suite"], r["workload"]) for r in records):
        here = [r for r in records if (r["suite"], r["workload"]) == (suite, workload)]
        header, *lines = rows(here)
        parts.append(f"**{suite}: {workload}**, {max(r['rounds'] for r in here)} rounds\n\n"
                     + "\n".join("| " + " | ".join(row) + " |" for row in [
                         header, ["---"] + ["---:"] * (len(header) - 1), *lines]))
    return "\n\n".join(parts) + "\n"


class Say:
    """What goes to the terminal."""

    def __call__(self, text):
        print(text, flush=True)

    def table(self, suite, workload, records):
        if records:
            count = max(r["rounds"] for r in records)
            print(f"\n{suite}: {workload} ({count} rounds)\n{table(records)}", flush=True)


def write_json(path, records):
    pathlib.Path(path).write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


PLOT = """set terminal svg size 900,{height} font 'sans,12' background '#ffffff'
set output '{out}'
set title '{title}' noenhanced
set style data boxes
set style fill solid 0.7
unset key
set yrange [{count}-0.5:-0.5]
set xrange [0:*]
set ytics noenhanced
set grid x
set lmargin {margin}
plot '-' using (0):0:(0):($1):($0-0.35):($0+0.35):ytic(2) with boxxyerror lc rgb '#4477aa', \\
     '-' using 2:0:2:3 with xerrorbars pt 0 lc rgb '#222222'
{bars}
e
{errors}
e
"""


def quoted(text):
    return '"' + text.replace('"', "'") + '"'


def plot(path, title, records):
    """A bar for each contestant with its quartiles. Whether it could be drawn."""
    records = [r for r in records if r["median"] is not None]
    if not records or shutil.which("gnuplot") is None:
        return False
    bars = "\n".join(f"{r['median']} {quoted(r['contestant'])}" for r in records)
    errors = "\n".join(f"0 {r['q1']} {r['q3']}" for r in records)
    script = PLOT.format(height=90 + 26 * len(records), count=len(records), out=path,
                         margin=max(30, 2 + max(len(r["contestant"]) for r in records)),
                         title=title.replace("'", ""), bars=bars, errors=errors)
    done = subprocess.run(["gnuplot"], input=script, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"gnuplot: {done.stderr.strip()}")
    return True


def write_html(folder, records, facts, remarks):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page = ["<!doctype html><meta charset=utf-8><title>sluice side by side</title>",
            "<style>body{font:15px sans-serif;max-width:70em;margin:2em auto}"
            "td,th{padding:.2em .7em;text-align:right}td:first-child,th:first-child{text-align:left}"
            "tr:nth-child(even){background:#f2f2f2}</style><h1>sluice side by side</h1><ul>"]
    page += [f"<li>{html.escape(k)}: {html.escape(str(v))}" for k, v in facts.items()]
    page += ["</ul><p>Medians; ± is half the distance of the quartiles. <i>to raw</i>: median of the "
             f"ratios to {BASE} in the same round.</p>"]
    page += [f"<p>{html.escape(text)}</p>" for text in remarks]
    for index, (suite, workload) in enumerate(
            dict.fromkeys((r["suite"], r["workload"]) for r in records)):
        here = [r for r in records if (r["suite"], r["workload"]) == (suite, workload)]
        page.append(f"<h2>{html.escape(suite)}: {html.escape(workload)}</h2><table>")
        for row, texts in enumerate(rows(here)):
            tag = "th" if row == 0 else "td"
            page.append("<tr>" + "".join(f"<{tag}>{html.escape(t)}</{tag}>" for t in texts))
        page.append("</table>")
        first = next((name for name, _ in COLUMNS if any(r["metric"] == name for r in here)), None)
        name = f"plot{index}.svg"
        if first and plot(folder / name, f"{suite}: {workload}: {dict(COLUMNS)[first]}",
                          [r for r in here if r["metric"] == first]):
            page.append(f"<p><img src={name} alt='plot'>")
    (folder / "index.html").write_text("\n".join(page) + "\n", encoding="utf-8")
    return folder / "index.html"
