"""Tables and figures of the page on performance, from the results of the benchmarks."""

from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path

from matplotlib import rc_context

import rule_figures
from benchmarks import plot
from entries import by_part, columns
from gpu_tables import gpu
from results import Results, Row, load, provenance
from tables import number, table, unbroken

MODULES = {"matrix_functions": "run"}
ACCURATE_N = 64


def write(results: Path, folder: Path) -> None:
    """One Markdown file for each part of the page, and the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in PARTS.items():
        sections = [
            f"{part(found)}\n\n{figures_of(name, device, found, folder)}{provenance(found)}"
            for device in devices(results, name)
            if (found := load(results, name, device)) is not None
        ]
        absent = f"Not measured yet; `python -m benchmarks.{MODULES.get(name, name)}` measures it."
        (folder / f"{name}.md").write_text("\n\n".join(sections or [absent]) + "\n")


def devices(results: Path, name: str) -> tuple[str, ...]:
    """Of what there may be results: GPUs have names of their own where nothing else is measured."""
    if name != "gpu":
        return ("cpu", "cuda")
    found = (path.stem.removesuffix("-quick").split("-")[1] for path in results.glob("gpu-*.json"))
    return tuple(sorted({*found} - {"cpu"}))


def figures_of(name: str, device: str, results: Results, folder: Path) -> str:
    """What shows the figures, if the part has any."""
    if name != "matrix_functions":
        return ""
    with rc_context(
        rule_figures.STYLE | {"text.color": rule_figures.GREY, "savefig.transparent": True}
    ):
        paths = plot.draw(results, folder, f"{name}-{device}")
    lines = "\n\n".join(
        f"```{{figure}} /_static/generated/performance/{path.name}\n"
        f":alt: {path.stem.replace('-', ', ')}\n```"
        for path in paths
    )
    return f"{lines}\n\n"


def targets(results: Results) -> str:
    """Every promise, kept or not."""
    verdicts = {True: "holds", False: "**misses**", None: "skipped"}
    return table(
        ("", "against", "at most", "measured", "", "value error", "and gradient"),
        (
            (
                row["what"],
                f"{row['quantity']} of {row['against']}",
                number(row["promised"], ".2f"),
                number(row["measured"], ".2f"),
                verdicts[row["holds"]],
                unbroken(row["value_error"]),
                unbroken(row["gradient_error"]),
            )
            for row in results["rows"]
        ),
        words=2,
    )


def matrix_functions(results: Results) -> str:
    """For each function and type the times by size, and the errors at one of them."""
    rows = [row for row in results["rows"] if row["role"] != "grid"]
    parts = []
    for (dtype, function), some in groupby(rows, key=lambda row: (row["dtype"], row["function"])):
        own = list(some)
        sizes = sorted({row["n"] for row in own})
        cells: dict[str, dict[int, Row]] = {}
        for row in own:
            cells.setdefault(plot.label(row), {})[row["n"]] = row
        at = ACCURATE_N if ACCURATE_N in sizes else sizes[0]
        headings = ("ms", *(f"n = {n}" for n in sizes), f"value error, n = {at}", "gradient error")
        body = (
            (
                f"`{name}`",
                *(number(by_n[n]["time_ms"]) if n in by_n else "–" for n in sizes),
                *(number(by_n[at][f"{kind}_error"], ".0e") for kind in ("value", "gradient")),
            )
            for name, by_n in sorted(cells.items(), key=lambda c: c[1][at]["time_ms"] or 1e9)
        )
        parts.append(f"**{function}**, {dtype}\n\n{table(headings, body)}")
    return "\n\n".join(parts)


def steps(*groups: str, extra: Mapping[str, str] | None = None) -> Callable[[Results], str]:
    """The table of a benchmark of modules, one for each value of those entries of its rows."""
    more = extra or {}

    def part(results: Results) -> str:
        parts = []
        for values, own in groupby(results["rows"], key=lambda row: [row[key] for key in groups]):
            words = zip(groups, values, strict=True)
            title = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in words)
            body = (
                (
                    row["layer"],
                    number(row["time_ms"]),
                    number(row["time_iqr_ms"]),
                    number(row["relative"], ".2f"),
                    number(row["kept_over_input"], ".2f"),
                    number(row["peak_over_input"], ".2f"),
                    *(number(row[key], ".0e") for key in more),
                )
                for row in own
            )
            headings = ("", "ms", "IQR", "relative", "kept/input", "peak/input", *more.values())
            parts.append(f"{title}\n\n{table(headings, body)}")
        return f"Relative is to {results['metadata']['baseline']}.\n\n" + "\n\n".join(parts)

    return part


def scaling(results: Results) -> str:
    """The exponents."""
    fixed = ", ".join(f"{key} {value}" for key, value in results["metadata"]["fixed"].items())
    headings = ("", "along", "sizes", "time", "peak memory", "kept memory")
    body = (
        (
            f"`{row['what']}`",
            row["along"],
            ", ".join(map(str, row["sizes"])),
            *(number(row[f"{kind}_exponent"], ".2f") for kind in ("time", "peak", "kept")),
        )
        for row in results["rows"]
    )
    return f"Exponents, with {fixed} where it does not vary.\n\n{table(headings, body, words=3)}"


BOTH_SIDES = {"channels_ms": "channels, ms", "positions_ms": "positions, ms", "ratio": "ratio"}
PARTS: dict[str, Callable[[Results], str]] = {
    "targets": targets,
    "matrix_functions": matrix_functions,
    "layers": steps(
        "shape", "group_size", "memory_format", extra={"whiteness": "from the identity"}
    ),
    "heads": steps("shape"),
    "style": steps("shape", extra={"moments": "error of the covariance"}),
    "scaling": scaling,
    "overhead": by_part(
        times=columns(
            4,
            what="",
            shape="input",
            step="step",
            against="against",
            own_us="µs",
            against_us="its µs",
            ratio="ratio",
            at_most="target",
        ),
        operations=columns(
            2,
            what="",
            shape="input",
            gpu_forward="GPU, forward",
            gpu_backward="backward",
            cpu_forward="CPU, forward",
            cpu_backward="backward",
        ),
    ),
    "smaller_side": by_part(
        layers=columns(
            2,
            what="",
            shape="input",
            **BOTH_SIDES,
            at_most="target",
            channels_kept="kept, channels",
            positions_kept="positions",
            channels_value_error="error of the value, channels",
            positions_value_error="positions",
            channels_gradient_error="of the gradient, channels",
            positions_gradient_error="positions",
        ),
        few=columns(2, what="", shape="input", **BOTH_SIDES),
        network=columns(
            2,
            what="",
            shape="input",
            **BOTH_SIDES,
            channels_share="share of a step, channels",
            positions_share="positions",
        ),
    ),
    "gpu": gpu,
    "data_parallel": columns(
        layer="layer",
        num_features="channels",
        num_groups="groups",
        processes="processes",
        time_ms="ms",
        samples_per_s="samples/s",
        bytes_all_reduced="bytes",
    ),
    "thread_split": columns(
        n="n",
        batch="batch",
        plain_ms="ms",
        split_over_plain="in two threads",
        again_over_plain="as before, afterwards",
    ),
}
