"""Whitening layers that are fitted to data."""
