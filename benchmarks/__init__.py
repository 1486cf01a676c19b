"""What the benchmarks share, and the scripts that run them: ``python -m benchmarks.NAME``."""
