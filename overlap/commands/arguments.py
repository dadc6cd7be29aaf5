"""Arguments and options that several verbs take."""

from __future__ import annotations

from pathlib import Path

import click

STUDY = click.argument("study", type=click.Path(path_type=Path))
ADDRESS = click.option(
    "--address", help="A running Ray cluster (auto, ray://HOST:10001, HOST:6379); else Ray starts here."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
DASHBOARD = click.option(
    "--address",
    required=True,
    envvar=["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"],
    show_envvar=True,
    help="The cluster's dashboard: http://HOST:8265.",
)
