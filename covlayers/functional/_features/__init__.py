"""Features on a GPU: their covariance, a root of it from few positions, and its triangle.

Each step is one operator and one launch, with plain PyTorch beside it for a CPU. The callers are
:mod:`~covlayers.functional.covariances`, :mod:`~covlayers.functional.triangle` and
:mod:`~covlayers.functional.by_products`.
"""
