"""The searchable record of all objects."""
