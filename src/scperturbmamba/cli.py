"""The command line: ``scperturbmamba demo`` and ``scperturbmamba benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def main() -> None:
    """Predict what a perturbation does to the whole transcriptome."""


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="An .h5ad of a screen; the default is a generated one.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the predictions and figures.")] = Path("demo"),
    column: Annotated[str | None, typer.Option(help="Column of obs with the labels; found if not given.")] = None,
    library_size: Annotated[
        str | None, typer.Option(help="Column of obs with UMIs over the full transcriptome, for a gene panel.")
    ] = None,
    head: Annotated[Literal["linear", "nb"], typer.Option(help="What the network predicts.")] = "linear",
    epochs: Annotated[int, typer.Option(min=1, help="At most so many epochs.")] = 150,
) -> None:
    """Run the whole journey: clean, describe genes, train, predict held-out conditions, compare with baselines."""
    from scperturbmamba._journey import Journey

    journey = Journey.read(data, column=column, library_size=library_size)
    journey.prepare()
    journey.train(head=head, epochs=epochs)
    predicted = journey.predict()
    journey.write(predicted, out)
    typer.echo(journey.verdict(predicted))
    typer.echo(f"\nWritten to {out}/: {', '.join(sorted(path.name for path in out.iterdir()))}")


@app.command()
def benchmark(
    data: Annotated[Path | None, typer.Option(help="An .h5ad of a screen; the default is a generated one.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for predictions, tables and the report; it resumes.")] = Path(
        "benchmark"
    ),
    model: Annotated[list[str] | None, typer.Option(help="A model, several times; all baselines if not given.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="A gene feature, NAME=FILE (.gmt, .csv).")] = None,
    column: Annotated[str | None, typer.Option(help="Column of obs with the labels; found if not given.")] = None,
    library_size: Annotated[str | None, typer.Option(help="Column of obs with UMIs over the transcriptome.")] = None,
    scheme: Annotated[
        str, typer.Option(help="How conditions are held out, or a column with a split.")
    ] = "perturbation",
    folds: Annotated[int, typer.Option(min=0, help="Folds over the genes instead of one split.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How often a network is trained.")] = 1,
    head: Annotated[Literal["linear", "nb"], typer.Option(help="What a network predicts.")] = "linear",
    epochs: Annotated[int, typer.Option(min=1, help="At most so many epochs.")] = 150,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Judge models on held-out perturbations, beside every baseline and the ceiling, and write a report."""
    from scperturbmamba._journey import Journey
    from scperturbmamba._settings import settings

    settings.n_jobs = jobs
    journey = Journey.read(data, column=column, library_size=library_size)
    journey.take_features(feature or [])
    splits = journey.prepare(scheme=scheme, folds=folds)
    typer.echo(journey.benchmark(model or None, splits, out, seeds=seeds, epochs=epochs, head=head))
    typer.echo(f"\nReport: {out / 'report.html'}")


if __name__ == "__main__":
    app()
