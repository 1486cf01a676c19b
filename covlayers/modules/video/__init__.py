"""Layers for video."""
