"""The verb `picture`: draw what a finished run's model sees in its test videos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.options import number_in, within
from wtal_bench.report.figures import check_format
from wtal_bench.text import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wtal_bench.running.look import Look

SUMMARY = "Draw a finished run: t-SNE of its embedding, similarity of videos, curves, and what its components offer."
EXAMPLE = "wtal-bench picture work_dirs/fac_net_thumos/RUN --kind tsne"

GENERIC = {
    "tsne": "snippets of the test videos in the plane, action against background (needs the extra 'pictures')",
    "similarity": "cosines between all snippets of two videos",
    "curves": "class curves, detections and annotated instances of a video",
}
"""Kinds that every run has, with what they show."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", help="the run's folder (config.json and its checkpoint)")
    parser.add_argument("--kind", help=f"one of {listing(GENERIC)}, or one that a component of the run offers")
    parser.add_argument("--list", action="store_true", help="print the kinds of this run and stop")
    parser.add_argument("--video", nargs="+", default=[], metavar="ID", help="test videos (default: see each kind)")
    parser.add_argument(
        "--field",
        nargs="+",
        default=[],
        help="output fields to compare snippets by, side by side (default: every embedding)",
    )
    parser.add_argument(
        "--aggregate", metavar="FIELD", help="tsne: stars for means of the snippets under these weights"
    )
    parser.add_argument("--colour", default="action", help="tsne: by 'action' against background, or by 'class'")
    parser.add_argument(
        "--points",
        type=number_in("[1, 10000000]", whole=True),
        default=4000,
        help="tsne: at most so many snippets (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="tsne: of the draw and the layout (default: %(default)s)",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change the run's settings, e.g. the decoder's",
    )
    parser.add_argument("--checkpoint", help="another checkpoint than the one the run chose")
    parser.add_argument("--out", help=".png, .pdf or .svg to write (default: pictures/KIND.png in the run's folder)")


def run(args: argparse.Namespace) -> int:
    """Open the run, draw, write."""
    within("--seed", args.seed, "[0, 4294967296)")
    if args.kind is None and not args.list:
        raise ConfigError(f"say with --kind what to draw: {listing(GENERIC)}, or what --list shows for {args.run}.")
    if args.out is not None:
        check_format(Path(args.out).suffix.lstrip("."), f"--out {args.out}")
    if args.kind == "tsne" and not args.list:
        from wtal_bench.report.embedding import refuse_without_scikit_learn

        refuse_without_scikit_learn()
    from wtal_bench.report.figures import save_figure
    from wtal_bench.running.look import Look

    look = Look(args.run, args.checkpoint, args.cfg_options)
    offers = look.offers()
    kinds = {**GENERIC, **{name: offer.picture.title for name, offer in offers.items()}}
    if args.list:
        rows = [[name, f"model.{offers[name].where}" if name in offers else "", title] for name, title in kinds.items()]
        print("\n".join(table([], rows, left=(0, 1, 2))))
        return 0
    if args.kind not in kinds:
        raise ConfigError(
            f"--kind {args.kind}: {args.run} has no such picture.{did_you_mean(str(args.kind), kinds)} It has: "
            f"{listing(kinds)}; see --list."
        )
    figure = _offered(look, args) if args.kind in offers else _DRAW[args.kind](look, args)
    path = Path(args.out) if args.out else look.folder / "pictures" / f"{args.kind}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
    print(f"written {path}")
    return 0


def _fields(look: Look, args: argparse.Namespace) -> list[str]:
    """What snippets are compared by: as asked, else the embedding, or those of all streams."""
    fields = args.field or [name for name in look.model.fields if name.rpartition(".")[2] == "embedding"]
    if not fields:
        raise ConfigError(
            f"{args.run}: its model keeps no embedding among its fields; name another with --field, or switch it on "
            f"with --cfg-options where the backbone has a switch. Fields: {listing(look.model.fields, 40)}."
        )
    return fields


def _tsne(look: Look, args: argparse.Namespace) -> Figure:
    from wtal_bench.report.embedding import draw_embedding

    fields = _fields(look, args)
    ids = look.choose(len(args.video), args.video) if args.video else list(look.videos.ids)
    return draw_embedding(
        look.see(ids, [*fields, *([args.aggregate] if args.aggregate else [])]),
        fields,
        aggregate=args.aggregate,
        colour=args.colour,
        points=args.points,
        seed=args.seed,
        title=f"{look.method}: {listing(fields)} of {len(ids)} test videos, t-SNE",
    )


def _similarity(look: Look, args: argparse.Namespace) -> Figure:
    from wtal_bench.report.similarity import draw_similarity

    fields = _fields(look, args)
    named = args.video * 2 if len(args.video) == 1 else args.video
    ids = look.choose(2, named)
    return draw_similarity(*look.see(ids, fields), fields, f"{look.method}: cosine similarity of {listing(fields)}")


def _curves(look: Look, args: argparse.Namespace) -> Figure:
    from wtal_bench.report.curves import draw_curves

    (name,) = look.choose(1, args.video)
    video, found, view = look.detections(name)
    return draw_curves(video.outputs, video.meta, found, video.classes, video.truth if video.timed else None, view)


def _offered(look: Look, args: argparse.Namespace) -> Figure:
    """A picture the core knows nothing of but where it is drawn."""
    offer = look.offers()[args.kind]
    ids = look.choose(offer.picture.videos, args.video)
    return offer.picture(offer.part.component, look.see_for(offer, ids))


_DRAW = {"tsne": _tsne, "similarity": _similarity, "curves": _curves}
