"""Naming layouts: what the names of instruments and programs say about plate, well, site, channel, z and time."""
