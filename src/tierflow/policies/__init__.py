"""Policies: interestingness, sizes and flags in, tiers out."""
