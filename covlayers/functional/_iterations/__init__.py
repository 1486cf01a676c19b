"""Iterations by matrix products: in plain PyTorch, and in Triton for small matrices on a GPU.

A caller takes :func:`~.roots.iterated_roots`, :func:`~.sign.solve_by_sign` or
:func:`~.smith.solve_by_smith` and never asks which of the two runs.
"""
