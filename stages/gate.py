"""Judge the model by the declared rules; the verdict is a file, and `trunkline gate` is what says no."""

from trunkline.core.stage import run


def main() -> None:
    """Gather the evidence, judge, write the verdicts."""
    from rich.console import Console

    from trunkline import evidence, gates
    from trunkline.core import files, paths
    from trunkline.params.base import load_seed
    from trunkline.params.evaluation import Evaluation
    from trunkline.params.gates import Gates

    console = Console(stderr=True, highlight=False)
    declared = Gates.load()
    with console.status("judging"):
        found = evidence.read(Evaluation.load(), load_seed())
        verdicts = gates.judge(declared, found)
    content = gates.content(verdicts, found)
    files.write_json(paths.GATES_REPORT, content)
    failed = sum(verdict.verdict == "fail" and verdict.blocking for verdict in verdicts)
    console.print(
        f"{paths.GATES_REPORT}: {content['verdict']}, {len(verdicts)} verdicts, {failed} block; see: trunkline gate",
        soft_wrap=True,
    )


if __name__ == "__main__":
    run(main)
