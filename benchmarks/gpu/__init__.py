"""Everything that this library promises on a GPU, measured in one run of four minutes at most.

    python -m benchmarks.gpu [--quick] [--device cpu|cuda|auto] [--output FILE] [--seconds S]

``parts.py`` lists what is measured, ``promises.py`` what of it was promised. Every part runs in a
process of its own, within its own time: one that fails, hangs or kills its process loses its own
rows alone. The results are written anew after every part. What raises, or does not hold its tests,
is a row that says so, and makes the exit status 1; a promise that is missed reads ``misses``, and
does not.

All is float32 and eager unless a row says otherwise. ``wall_ms`` is what a user waits for,
``gpu_ms`` the sum of the kernels, and ``launches`` counts kernels, copies and fills. Where
``wall_ms`` exceeds ``gpu_ms`` the host is what takes the time. On a CPU the last two are None.
``--quick`` runs every part on next to nothing.
"""
