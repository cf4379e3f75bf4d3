"""Baselines, scores and flags: the pure part of the steps baseline, score and policy."""
