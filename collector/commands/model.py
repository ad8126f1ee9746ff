"""`collector model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.commands.options import add_format, add_store, told
from collector.detectors.settings import CONFIDENCE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    model = commands.add_parser("model", help="train and ask Isolation Forests", description=train.__doc__)
    actions = model.add_subparsers(required=True, metavar="action")
    _add_train(actions)
    _add_evaluate(actions)
    listing = actions.add_parser("list", help="models of a folder", description=list_models.__doc__)
    _add_models(listing)
    add_format(listing)
    listing.set_defaults(run=list_models)
    predict = actions.add_parser(
        "predict", help="one sample, or a batch", description=predict_samples.__doc__
    )
    predict.add_argument("model", type=Path)
    what = predict.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--sample", metavar="JSON", help='{"signal": value, ...}, physical; - reads it from the input'
    )
    what.add_argument(
        "--file", type=Path, metavar="F", help="CSV with a header, or Parquet: a column for each signal"
    )
    add_format(predict)
    predict.set_defaults(run=predict_samples)


def _add_train(actions: Commands) -> None:
    training = actions.add_parser("train", help="on what is stored", description=train.__doc__)
    training.add_argument("--name", required=True, help="of the model; its version counts up")
    training.add_argument(
        "--signals", metavar="A,B,...", help="default: every measurement that all streams have"
    )
    training.add_argument("--trees", type=int, default=100, metavar="N", help="default 100")
    training.add_argument(
        "--tree-samples", type=int, default=256, metavar="N", help="of each tree; default 256"
    )
    training.add_argument(
        "--smooth-s", type=int, default=1, metavar="S", help="means over so many seconds; default 1: none"
    )
    _add_range(training)
    _add_models(training)
    add_store(training)
    training.set_defaults(run=train)


def _add_evaluate(actions: Commands) -> None:
    evaluating = actions.add_parser("evaluate", help="on other records", description=evaluate.__doc__)
    evaluating.add_argument("model", type=Path)
    evaluating.add_argument(
        "--faulty",
        nargs=2,
        action="append",
        metavar=("FROM", "TO"),
        help="a stretch with a fault; again for others",
    )
    evaluating.add_argument(
        "--confidence", type=float, default=CONFIDENCE, metavar="C", help=f"default {CONFIDENCE}"
    )
    _add_range(evaluating)
    add_store(evaluating)
    evaluating.set_defaults(run=evaluate)


def _add_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vin", action="append", help="of one vehicle; again for others; default: all")
    parser.add_argument("--from", dest="start", metavar="T", help="2026-11-21T08:15:30Z, 2026-11-21, or -15m")
    parser.add_argument("--to", dest="end", metavar="T", help="the same; not included")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="FOLDER", help="default: models"
    )


def train(options: argparse.Namespace) -> int:
    """Trains an Isolation Forest on stored records that are taken to be healthy, and writes a file that `collector serve` can score with."""
    from collector import models

    return _told(lambda: models.run_train(options))


def evaluate(options: argparse.Namespace) -> int:
    """Prints how strange a model finds stored records; with --faulty, also its precision, recall and lead time."""
    from collector import models

    return _told(lambda: models.run_evaluate(options))


def list_models(options: argparse.Namespace) -> int:
    """Prints the models of a folder: what each was trained on, when, and by which library."""
    from collector import models

    return _told(lambda: models.run_list(options))


def predict_samples(options: argparse.Namespace) -> int:
    """Prints score, confidence and leading signal of one sample (JSON) or of every row of a file (CSV, Parquet)."""
    from collector import models

    return _told(lambda: models.run_predict(options))


def _told(run: Callable[[], object]) -> int:
    from collector.models import ModelError
    from collector.reading.signals import QueryError
    from collector.store import StoreError

    return told(run, ModelError, StoreError, QueryError)
