"""``python -m enricher`` is the program ``enricher``."""

from enricher.cli import main

if __name__ == "__main__":
    main()
