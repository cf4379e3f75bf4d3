"""Contract suites: what every replaceable part must do. Plug-in authors subclass them in their own tests."""
