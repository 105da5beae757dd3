"""The command line. ``app`` puts the commands together; each has a module of its own, named as it is."""


def main() -> None:
    """Run the program ``enricher``."""
    from enricher.cli.app import app  # noqa: PLC0415  importing a part of this package should not build all of it

    app(prog_name="enricher")
