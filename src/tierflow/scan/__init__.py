"""The parts of the scan: reading names, grouping objects into units, cutting shards. Pure but for `describe`."""
