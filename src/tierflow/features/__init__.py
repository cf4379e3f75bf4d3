"""Features: pure functions from pixels to numbers. No module in here opens a file."""
