"""The catalogue in Elasticsearch: the same records as in Parquet, which stays the truth, for many users and runs."""
