"""Tier drivers: how a file gets to its tier, verified, journaled and undoable."""
