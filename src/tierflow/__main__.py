"""`python -m tierflow` is the `tierflow` command."""

from tierflow.cli import main

if __name__ == "__main__":
    main()
