"""Reading and writing at the edges: images, tables, names."""
