"""The command line: one verb, one function, in `commands`. Everything heavy is imported inside the verb that needs it.

Standard output carries what was asked for (a table, or JSON with `--json`), standard error the progress. Exit codes: 0
done, 1 a bug, 2 a mistake in the study or the command, 3 some units failed and the rest is published.
"""

from __future__ import annotations

from typing import Any

import click

from overlap import __version__
from overlap.commands import importing, keeping, packing, reading, running, submitting
from overlap.errors import OverlapError


class Verbs(click.Group):
    """Prints an expected failure as its one line and exits with its code; anything else is a bug and shows itself."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except OverlapError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Which image classifiers err together, which specialise, and which small ensemble of them is best."""


for verb in (
    running.demo,
    running.run,
    running.plan,
    submitting.submit,
    submitting.jobs,
    submitting.logs,
    submitting.stop,
    reading.status,
    reading.zoo,
    reading.keys,
    packing.shards,
    importing.import_,
    reading.report,
    reading.sync,
    keeping.export,
    keeping.gc,
):
    main.add_command(verb)


if __name__ == "__main__":
    main()
