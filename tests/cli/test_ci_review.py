"""`trunkline ci review`: which verbs are asked, what is told of each, and the exit code of all."""

from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from trunkline.cli import gate, plan, review, trunkline
from trunkline.cli.ci import reproduce
from trunkline.core.errors import OutsideError, UserError

VERBS = {"plan": plan.plan, "run": reproduce.run, "review": review.review, "gate": gate.gate}
ASKED = ["plan", "run", "review", "gate --base", "gate --self-test"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The verbs that were asked, each with its arguments; `fails` says what some of them raise."""
    state: dict[str, Any] = {"fails": {}, "asked": {}}

    def answering(name: str) -> Any:
        def answer(**arguments: Any) -> None:
            told = f"gate --{'self-test' if arguments['testing'] else 'base'}" if name == "gate" else name
            state["asked"][told] = arguments
            if told in state["fails"]:
                raise state["fails"][told]

        return answer

    for name, verb in VERBS.items():
        monkeypatch.setattr(verb, "callback", answering(name))
    return state


def run(*words: str) -> Result:
    return CliRunner().invoke(trunkline, ["ci", "review", *words], standalone_mode=False)


def test_every_verb_is_asked_in_order_and_given_the_base(asked: dict[str, Any]) -> None:
    result = run("--base", "trunk", "--data", "review.json", "--markdown", "review.md")
    assert (result.return_value or 0, list(asked["asked"])) == (0, ASKED)
    assert {name: given["base"] for name, given in asked["asked"].items()} == dict.fromkeys(ASKED, "trunk") | {
        ASKED[-1]: None
    }
    given = asked["asked"]["review"]
    assert (given["attributing"], str(given["data"]), given["html"]) == (True, "review.json", None)
    assert [line.split()[0] for line in result.output.splitlines()[-len(ASKED) :]] == ["yes"] * len(ASKED)


def test_what_has_run_is_not_run_again(asked: dict[str, Any]) -> None:
    assert run("--no-run", "--base", "trunk").exit_code == 0
    assert list(asked["asked"]) == ASKED[2:]


@pytest.mark.parametrize("place", range(3))
def test_what_is_needed_ends_it(asked: dict[str, Any], place: int) -> None:
    asked["fails"] = {ASKED[place]: UserError("conf/x.yaml: is wrong")}
    result = run()
    assert (result.return_value, list(asked["asked"])) == (2, ASKED[: place + 1])
    assert "error: conf/x.yaml: is wrong" in result.output
    told = [line.split("  ")[0] for line in result.output.splitlines()[-len(ASKED) :]]
    assert told == ["yes"] * place + ["wrong input"] + ["not asked"] * (len(ASKED) - place - 1)


@pytest.mark.parametrize(
    ("fails", "code"),
    [
        ({"gate --base": click.exceptions.Exit(1)}, 1),
        ({"gate --self-test": click.exceptions.Exit(1)}, 1),
        ({"gate --base": OutsideError("no server"), "gate --self-test": click.exceptions.Exit(1)}, 3),
        ({"gate --base": ZeroDivisionError("a bug"), "gate --self-test": UserError("no file")}, 3),
    ],
)
def test_every_judgement_is_asked_and_the_worst_decides(
    asked: dict[str, Any], fails: dict[str, Exception], code: int
) -> None:
    asked["fails"] = fails
    result = run("--base", "trunk")
    assert (result.return_value, list(asked["asked"])) == (code, ASKED)
