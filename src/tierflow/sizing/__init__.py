"""Sizing and cost: what a run is going to need, and what it did need."""
