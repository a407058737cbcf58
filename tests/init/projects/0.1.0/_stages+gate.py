"""Judge the model by the declared rules; the verdict is a file, and `trunkline gate` is what says no."""

from trunkline.core.stage import run


def main() -> None:
    """Gather the evidence, judge, write the verdicts."""
    from rich.console import Console

    from trunkline.conf.evaluation import Evaluation
    from trunkline.conf.gates import Gates
    from trunkline.core import files, paths
    from trunkline.core.params import Params
    from trunkline.core.progress import Bar
    from trunkline.pipeline.gate import evidence
    from trunkline.pipeline.gate import verdicts as gate_verdicts

    console = Console(stderr=True, highlight=False)
    params = Params.read()
    gates = params.group(Gates)
    with Bar("judging"):
        measured = evidence.read(params.group(Evaluation), params.seed)
        verdicts = gate_verdicts.judge(gates, measured)
    content = gate_verdicts.content(verdicts, measured)
    files.write_json(paths.GATES_REPORT, content)
    failed = sum(verdict.verdict == "fail" and verdict.blocking for verdict in verdicts)
    console.print(
        f"{paths.GATES_REPORT}: {content['verdict']}, {len(verdicts)} verdicts, {failed} block; see: trunkline gate",
        soft_wrap=True,
    )


if __name__ == "__main__":
    run(main)
