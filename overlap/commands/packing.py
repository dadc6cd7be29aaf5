"""`overlap shards`: images, as people and hubs keep them, into shards."""

from __future__ import annotations

from pathlib import Path

import click

from overlap.commands.arguments import AS_JSON
from overlap.printing import show

SOURCE = click.argument("source", type=click.Path(path_type=Path))
FOLDER = click.argument("folder", type=click.Path(path_type=Path))
PER_SHARD = click.option("--images-per-shard", type=click.IntRange(min=1), default=1000, show_default=True)
PREFIX = click.option(
    "--prefix", default="shard", show_default=True, help="Shards are called PREFIX-000000.tar and so on."
)
SPLIT = click.option("--split", help="Which split of a folder of Parquet files, such as validation.")


class WithDefault(click.Group):
    """A group of which `images` is meant where no sub-command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default in front of what begins with neither a sub-command nor a call for help."""
        named = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if named else ["images", *args])


@click.group(cls=WithDefault, subcommand_metavar="[images|imagenet] SOURCE FOLDER [OPTIONS]")
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
    show([str(path) for path in written], as_json, lambda: f"{len(written)} shards in {folder}")


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
    show([str(path) for path in written], as_json, lambda: f"{images:,} images in {len(written)} shards in {folder}")
