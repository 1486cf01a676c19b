r"""
Time against error: the Pareto front
====================================

A time says nothing without the error beside it. This script reads the results of
``python -m benchmarks.run``, draws one against the other, and asks what accuracy costs at each
size. It measures nothing: in a checkout, ``make bench`` puts the figures of your own machine in
their place.
"""

import math
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt

import covlayers

ROOT = Path(covlayers.__file__).parents[1]
sys.path.extend([str(ROOT), str(ROOT / "docs")])

import results  # noqa: E402 (found by the line above)
from benchmarks import labels, plot  # noqa: E402 (likewise)

run = results.load(Path(plot.__file__).parent / "results", "matrix_functions", "cpu")
rows = [
    row
    for row in run["rows"]
    if (row["function"], row["dtype"]) == ("invsqrtm", "float32") and row["gradient_error"]
]
print(results.provenance(run))

# %%
# One size
# --------
#
# Inverse roots of 64 x 64 matrices of condition number :math:`10^4`, in float32, forward and
# backward. Discs are pairs of this library and open squares its peers; small dots, if the run
# measured them, are the other rules of each method. The grey line is the front: the cells that
# nothing beats in both time and error.

points = {(row["time_ms"], row["gradient_error"]): row for row in rows if row["n"] == plot.PARETO_N}
figure, axes = plt.subplots(figsize=(8, 6), layout="constrained")
axes.set(xlabel="ms, forward and backward", ylabel="relative error of the gradient")
named = plot.pareto(axes, points)
figure.draw_without_rendering()
figure.set_layout_engine("none")  # names are placed once the layout is final
labels.beside_points(axes, named, points)

# %%
# **The upper group buys little time.** A gradient error of one means that next to nothing of the
# gradient is left: the published iterations stop before they resolve the small eigenvalues. Only
# the fastest cells of the group are on the front; most take as long as the exact pairs, or longer.
# The same figure for the error of the value is on :doc:`the page on performance </performance>`.
#
# Every size
# ----------
#
# The front of every other size, with times relative to ``Eigh()`` and ``Loewner()`` at that size.
# The small dots are left out, as only some sizes have them.

sizes = defaultdict(list)
for row in rows:
    if row["role"] != "grid":
        sizes[row["n"]].append(row)

figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
for (n, cells), colour in zip(sorted(sizes.items())[::2], plot.COLOURS, strict=False):
    front = plot.nothing_beats((row["relative"], row["gradient_error"]) for row in cells)
    axes.step(*zip(*front, strict=True), where="post", marker="o", color=colour, label=f"n = {n}")
axes.set(xlabel="time / time of Eigh() and Loewner()", ylabel="relative error of the gradient")
axes.set(yscale="log")
axes.grid(alpha=0.25)
_ = figure.legend(loc="outside right upper")

# %%
# **At middle sizes the fast end of the front is no inverse root:** its gradient is wrong by most
# of its norm. At the smallest and the largest sizes an eigendecomposition is itself the fastest
# cell.
#
# The price of an error of at most :math:`10^{-2}` or :math:`10^{-3}` is the time of the fastest
# cell that keeps to it, over the time of the fastest of all:


def fastest(cells, error):
    """The cell of the least time, of those whose gradient is right to ``error``."""
    return min(
        (row for row in cells if row["gradient_error"] <= error), key=lambda row: row["time_ms"]
    )


print("   n  fastest of all               error   1e-2   1e-3  the last by")
for n, cells in sorted(sizes.items()):
    best, two_digits, three_digits = (fastest(cells, error) for error in (math.inf, 1e-2, 1e-3))
    print(
        f"{n:4}  {plot.label(best):27}{best['gradient_error']:7.0e}"
        f"{two_digits['time_ms'] / best['time_ms']:7.2f}"
        f"{three_digits['time_ms'] / best['time_ms']:7.2f}  {plot.label(three_digits)}"
    )

# %%
# **A price of 1.00 says that the fastest cell keeps to the error.** Where the price is higher, the
# difference is what a wrong gradient saves. The third digit comes from the refined decomposition
# or, at 16 and 32, from the products: what ``auto`` selects.
