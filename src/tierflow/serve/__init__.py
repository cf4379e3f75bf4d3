"""A small read-only web server: thumbnails for Kibana, reports, and metrics for Prometheus."""
