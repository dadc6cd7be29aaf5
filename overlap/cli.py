"""The command line: one verb, one function. Everything heavy is imported inside the verb that needs it.

Standard output carries what was asked for (a table, or JSON with `--json`), standard error the progress. Exit codes: 0
done, 1 a bug, 2 a mistake in the study or the command, 3 some units failed and the rest is published.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overlap import __version__
from overlap.errors import OverlapError

if TYPE_CHECKING:
    import polars as pl

    from overlap.study import Study
    from workflows.outcome import Outcome

STUDY = click.argument("study", type=click.Path(path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
ADDRESS = click.option(
    "--address", help="A running Ray cluster (auto, ray://HOST:10001, HOST:6379); else Ray starts here."
)
SOURCE = click.argument("source", type=click.Path(path_type=Path))
FOLDER = click.argument("folder", type=click.Path(path_type=Path))
PER_SHARD = click.option("--images-per-shard", type=click.IntRange(min=1), default=1000, show_default=True)
PREFIX = click.option(
    "--prefix", default="shard", show_default=True, help="Shards are called PREFIX-000000.tar and so on."
)
SPLIT = click.option("--split", help="Which split of a folder of Parquet files, such as validation.")


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


@main.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path), default="overlap-demo", show_default=True)
@AS_JSON
def demo(folder: Path, as_json: bool) -> None:
    """Train a small zoo on real digits and run a whole study on it, without any server."""
    from overlap.console import Terminal
    from workflows.demo import demo as run_demo

    with Terminal() as terminal:
        study, outcomes = run_demo(folder.resolve(), terminal)
    _conclude(study, outcomes, as_json)


@main.command()
@STUDY
@ADDRESS
@click.option("--limit", type=click.IntRange(min=1), help="Only so many images, for a smoke run; kept apart.")
@click.option("--verify", is_flag=True, help="Hash everything again and check every certified object.")
@click.option("--offline", is_flag=True, help="Ask no hub and no web server for weights (also HF_HUB_OFFLINE=1).")
@AS_JSON
def run(study: Path, address: str | None, limit: int | None, verify: bool, offline: bool, as_json: bool) -> None:
    """Bring a study up to date: predict what is missing, reduce, report. Run it again whenever something may be new."""
    from overlap.console import Terminal
    from overlap.study import load_study
    from workflows.run import run as run_study

    loaded = load_study(study)
    with Terminal() as terminal:
        outcomes = run_study(loaded, terminal, address=address, limit=limit, verify=verify, offline=offline)
    _conclude(loaded, outcomes, as_json)


@main.command()
@STUDY
@click.option("--explain", is_flag=True, help="Say for each checkpoint why it is computed.")
@click.option("--gpu-memory", type=click.FloatRange(min=0, min_open=True), help="GiB of a GPU: what will not fit?")
@click.option("--address", help="A running Ray cluster whose smallest GPU is taken for --gpu-memory.")
@AS_JSON
def plan(study: Path, explain: bool, gpu_memory: float | None, address: str | None, as_json: bool) -> None:
    """Show what a run would compute, why, what it reuses, and what it costs. Computes nothing but digests."""
    from overlap.study import load_study
    from workflows import explain as explanation

    loaded = load_study(study)
    memory = None if gpu_memory is None else int(gpu_memory * explanation.GIB)
    if address is not None and memory is None:
        from workflows.memory import smallest_gpu

        memory = smallest_gpu(loaded, address)
    planned = explanation.explain_plan(loaded, memory)
    _show(explanation.as_json(planned), as_json, lambda: explanation.lines(planned, explain))


@main.command()
@STUDY
@AS_JSON
def status(study: Path, as_json: bool) -> None:
    """Show from the store alone what is done, missing and failed, by checkpoint."""
    from overlap import status as reading
    from overlap.study import load_study

    states = reading.state(load_study(study))
    _show(reading.as_json(states), as_json, lambda: reading.lines(states))


@main.command()
@STUDY
@click.option("--csv", "as_csv", is_flag=True, help="Write all columns as csv.")
@AS_JSON
def zoo(study: Path, as_csv: bool, as_json: bool) -> None:
    """List the checkpoints that a study resolves to, with every column."""
    from overlap.study import load_study
    from overlap.zoo.listing import listing

    table = listing(load_study(study))
    if as_csv:
        click.echo(table.write_csv(), nl=False)
    else:
        _show(table.to_dicts(), as_json, lambda: _table(table))


@main.command(name="import")
@STUDY
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", help="The data set that was predicted; for a study of imports alone `imported`.")
@AS_JSON
def import_(study: Path, file: Path, data: str | None, as_json: bool) -> None:
    """Store predictions made elsewhere: csv or parquet with model, key, label, prediction. `run` then reduces them."""
    from overlap.imports import import_file
    from overlap.study import load_study

    outcome = import_file(load_study(study), file, data)
    if as_json:
        click.echo(json.dumps(vars(outcome)))
    else:
        click.echo(
            f"{len(outcome.stored)} models stored, {len(outcome.unchanged)} unchanged, {len(outcome.refused)} refused"
        )
    for model, reason in outcome.refused.items():
        click.echo(f"refused: model '{model}' {reason}", err=True)
    sys.exit(3 if outcome.refused else 0)


class WithDefault(click.Group):
    """A group of which `images` is meant where no sub-command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default in front of what begins with neither a sub-command nor a call for help."""
        named = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if named else ["images", *args])


@main.group(cls=WithDefault, subcommand_metavar="[images|imagenet] SOURCE FOLDER [OPTIONS]")
def shards() -> None:
    """Pack images into shards: `overlap shards SOURCE FOLDER`, or `overlap shards imagenet SOURCE FOLDER`.

    SOURCE is a folder with a folder for each class, a csv of path and label, or Parquet as hubs publish it (a file, or
    a folder of them): `overlap shards images --help` shows the options. A folder that is called like a sub-command is
    ./images or ./imagenet.

    Shards hold the images in an order shuffled by a hash of their keys, so that any one is a sample of the whole.
    """


@shards.command()
@SOURCE
@FOLDER
@PER_SHARD
@PREFIX
@SPLIT
@click.option(
    "--classes", type=click.Path(path_type=Path, exists=True), help="Class names, one a line, in class order."
)
@AS_JSON
def images(
    source: Path,
    folder: Path,
    images_per_shard: int,
    prefix: str,
    split: str | None,
    classes: Path | None,
    as_json: bool,
) -> None:
    """Pack class folders, a csv, or Parquet (the default)."""
    from overlap.images.packing import pack
    from overlap.images.sources import opened

    lines = classes.read_text(encoding="utf-8").splitlines() if classes else ()
    names = [line.strip() for line in lines if line.strip()]
    with opened(source, folder, names or None, split) as found:
        written = pack(found.samples, folder, prefix=prefix, images_per_shard=images_per_shard, classes=found.classes)
    _show([str(path) for path in written], as_json, lambda: f"{len(written)} shards in {folder}")


@shards.command()
@SOURCE
@FOLDER
@click.option("--devkit", type=click.Path(path_type=Path), help="ILSVRC2012_devkit_t12.tar.gz, or what it unpacks to.")
@click.option("--labels", type=click.Path(path_type=Path), help="Text or csv of file name and synset, a line an image.")
@click.option(
    "--class-space", default="imagenet-1k", show_default=True, help="Numbers the classes; also imagenet-a, -r."
)
@click.option("--images", default=50_000, show_default=True, help="How many images there must be.")
@PER_SHARD
@PREFIX
@SPLIT
@AS_JSON
def imagenet(
    source: Path,
    folder: Path,
    devkit: Path | None,
    labels: Path | None,
    class_space: str,
    images: int,
    images_per_shard: int,
    prefix: str,
    split: str | None,
    as_json: bool,
) -> None:
    """Pack ImageNet, or a set in its classes, which are numbered as timm and torchvision do (ascending WordNet ids).

    SOURCE is ILSVRC2012_img_val.tar with --devkit or --labels, a folder of folders called by WordNet id (or by class
    number, as ImageNet-V2 has it), or Parquet whose labels are class numbers. A key is the stem of the file's name.
    """
    from overlap.images.imagenet import counted
    from overlap.images.packing import pack
    from overlap.images.sources import opened_imagenet
    from overlap.zoo.class_spaces import known_space

    classes = known_space(class_space).classes
    with opened_imagenet(source, folder, classes, devkit=devkit, labels=labels, split=split) as found:
        samples = counted(found, images, source).samples
        written = pack(samples, folder, prefix=prefix, images_per_shard=images_per_shard, classes=found.classes)
    _show([str(path) for path in written], as_json, lambda: f"{images:,} images in {len(written)} shards in {folder}")


@main.command()
@STUDY
@AS_JSON
def report(study: Path, as_json: bool) -> None:
    """Draw the reports again from the stored results, without computing anything."""
    from overlap.study import load_study
    from workflows.publish import again

    shown = again(load_study(study))
    _show([where for _, where, _ in shown], as_json, lambda: "\n".join(where for _, where, _ in shown))


@main.command()
@STUDY
@AS_JSON
def sync(study: Path, as_json: bool) -> None:
    """Bring MLflow up to date with the stored results, after it was down or replaced. Never doubles anything."""
    from overlap.errors import TrackingError
    from overlap.study import load_study
    from workflows.publish import again

    shown = again(load_study(study))
    for _, _, refused in shown:
        if refused is not None:
            raise TrackingError(refused)
    _show([data for data, _, _ in shown], as_json, lambda: "\n".join(f"{data}: in MLflow" for data, _, _ in shown))


def _conclude(study: Study, outcomes: list[Outcome], as_json: bool) -> None:
    """Say what a run came to, and exit with its code."""
    from overlap.report.across import across_text
    from overlap.report.summary import summary_text
    from overlap.tracking.server import how_to_open

    for outcome in outcomes:
        for reason, models in outcome.reasons.items():
            click.echo(f"failed: {', '.join(models)}: {reason}", err=True)
        for file, reason in outcome.blocked.items():
            click.echo(f"unreadable: {file}: {reason}", err=True)
        if outcome.blocked:
            click.echo(
                f"{outcome.data}: nothing reduced: mend the shards, or name them in allow_missing_shards", err=True
            )
        if outcome.tracking_error:
            click.echo(f"warning: {outcome.tracking_error}; `overlap sync {study.path}` fills it in later", err=True)
        if as_json:
            click.echo(json.dumps(outcome.summary()))
        elif outcome.results is not None:
            tracking = None if study.tracking.uri == "none" else how_to_open(study.tracking.uri)
            click.echo(summary_text(outcome.results, report=outcome.report, tracking=tracking))
            if outcome.across:
                click.echo(across_text(outcome.across) + "\n")
    sys.exit(max(outcome.exit_code for outcome in outcomes))


def _show(value: Any, as_json: bool, text: Callable[[], str]) -> None:
    click.echo(json.dumps(value) if as_json else text())


def _table(table: pl.DataFrame) -> str:
    """A frame as text: every row, and every column that says anything."""
    import polars as pl

    told = table.select(column for column in table if column.null_count() < len(column))
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=10_000,
        fmt_str_lengths=200,
        tbl_formatting="NOTHING",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        return str(told)


if __name__ == "__main__":
    main()
