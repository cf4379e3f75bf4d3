"""Kibana over the catalogue: panels described once, from which saved objects and aggregations are generated."""
