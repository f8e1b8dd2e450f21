"""Placeholder while the pack is being built."""

NODES = []
