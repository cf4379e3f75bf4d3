"""The step table written for engines: Snakemake rules now, Argo templates when they come."""
