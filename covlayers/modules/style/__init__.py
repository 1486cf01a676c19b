"""Layers for style transfer."""
