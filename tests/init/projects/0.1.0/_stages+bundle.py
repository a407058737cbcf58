"""Make the deployable model: a graph that scores as the evaluated pipeline does, and what explains and checks it."""

from trunkline.core.stage import run


def main() -> None:
    """Read the model, the rows and the reports, explain, export, compare, write the bundle and what became of it."""
    from pathlib import Path

    from rich.console import Console

    from trunkline.core import files, paths
    from trunkline.core.dataset import Dataset
    from trunkline.core.params import Params
    from trunkline.core.progress import Bar
    from trunkline.pipeline import reports
    from trunkline.pipeline.bundle import build
    from trunkline.pipeline.bundle.explain import explain
    from trunkline.pipeline.train import fit, modelfile

    console = Console(stderr=True, highlight=False)
    declared = build.Declaration.of(Params.read())
    pipeline, train, holdout = modelfile.load(paths.MODEL), Dataset.read("train"), Dataset.read("holdout")
    with Bar("explaining the model"):
        explanations = explain.explain(pipeline, train, holdout, declared.seed)
    measured = build.EvaluatedModel(
        pipeline=pipeline,
        skops=paths.MODEL.read_bytes(),
        train=train,
        holdout=holdout,
        scores=fit.scores(pipeline, holdout.features),
        reports=reports.Evaluated.parse(reports.read(Path(), reports.EVALUATED)),
        explanations=explanations,
    )
    with Bar("building the bundle"):
        report, comparison = build.build(declared, measured, paths.BUNDLE)
    files.write_json(paths.BUNDLE_REPORT, report.model_dump())
    compared = (
        f"{comparison.rows:,} rows compared, largest difference {comparison.difference:.1e}"
        if comparison
        else "not compared"
    )
    console.print(f"{paths.BUNDLE}: {report.runtime}, {report.bytes:,} bytes, {compared}", soft_wrap=True)
    if report.reason:
        console.print(f"the bundle needs scikit-learn to run: {report.reason}", style="yellow", soft_wrap=True)


if __name__ == "__main__":
    run(main)
