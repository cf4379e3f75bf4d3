"""The commands of `tierflow`: each reads its options, calls the package and prints."""
