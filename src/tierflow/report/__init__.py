"""The report of a run: pictures first, one file, no network."""
