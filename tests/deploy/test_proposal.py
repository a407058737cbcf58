"""The evidence of a promotion as its pull request shows it: golden text, and deaf to hostile texts; what ran when."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.reviews import REPORTS, passing, words_of_others
from trunkline.adapters.git.messages import LandedCommit, landed
from trunkline.conf.versions import Version
from trunkline.deploy import moves, proposal
from trunkline.deploy.moves import Move
from trunkline.deploy.proposal import Holdout, MeasuredVersion, ProposalEvidence
from trunkline.pipeline.evaluate.estimate import Estimate
from trunkline.pipeline.reports import Reports
from trunkline.show.differences import Difference

GOLDEN = Path(__file__).parents[1] / "golden/promotion"


def measured(number, roc_auc, holdout, trained="2013-01..2013-06"):
    metrics = {"roc_auc": Estimate(value=roc_auc, interval=(roc_auc - 0.01, roc_auc + 0.01))}
    if number == 4:
        metrics["brier"] = Estimate(value=0.1754, interval=None)
    return MeasuredVersion(Version("flight-delay", number), f"{number}" * 40, trained, holdout, metrics)


JULY = Holdout("2013-07", 28301, "aa.dir")
PROMOTION = ProposalEvidence(
    kind="promote",
    environment="production",
    before="v3",
    after="v4",
    label="v4",
    new=measured(4, 0.7712, JULY, "2013-02..2013-06"),
    present=measured(3, 0.7649, JULY),
    digest="5d1f" * 16,
    signer="release",
    gates=passing().gates,
    merged=(
        LandedCommit("d" * 40, "Results of 0123456789", None),
        LandedCommit("c" * 40, "A shorter window", "#12"),
        LandedCommit("b" * 40, "Fewer trees", "#11"),
    ),
    config=(Difference("data.window.train", "2013-01..2013-06", "2013-02..2013-06"),),
    back=False,
)
FIRST = replace(PROMOTION, before="null", present=None, merged=(), config=())
ELSEWHERE = replace(
    PROMOTION,
    present=measured(2, 0.75, Holdout("2013-06", 24000, "bb.dir")),
    before="v2",
    merged=(),
    config=(),
)
ROLLBACK = replace(
    PROMOTION,
    kind="rollback",
    before="v4",
    after="v3",
    label="v3",
    new=PROMOTION.present,
    present=PROMOTION.new,
    back=True,
    ran_before=True,
    rehearsed=20,
    reason="Half of the flights to BOS\nscore 1.",
)
BEGUN = replace(
    PROMOTION,
    after="{version: v3, shadow: v4}",
    begins="it scores too, and does not answer, 100 % of the requests, which is step 1 of 3 of conf/deploy",
)
CASES = {
    "begun.md": BEGUN,
    "promote.md": PROMOTION,
    "first.md": FIRST,
    "other_holdout.md": ELSEWHERE,
    "rollback.md": ROLLBACK,
}


@pytest.mark.parametrize(("golden", "content"), CASES.items(), ids=CASES)
def test_a_pull_request_reads_as_it_did(golden, content):
    found = f"{proposal.title(content)}\n\n{proposal.body(content)}"
    assert found == (GOLDEN / golden).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("holdout", "said"),
    [
        (JULY, "Both are measured on the same rows"),
        (replace(JULY, data="bb.dir"), "**The data of the holdouts differ**, though not their window"),
        (replace(JULY, rows=28300), "**The holdouts differ**"),
        (None, "**The holdouts differ**"),
    ],
)
def test_holdouts_that_are_not_the_same_are_said_to_differ(holdout, said):
    text = proposal.body(replace(PROMOTION, present=replace(PROMOTION.present, holdout=holdout)))
    assert said in text
    assert ("differ" in text.split("### Gates")[0]) == (holdout != JULY)


def test_gates_that_compared_with_another_version_are_said_to():
    other = Reports.model_validate(REPORTS).gates.champion.model_copy(update={"version": "flight-delay@v3"})
    right = replace(PROMOTION, gates=PROMOTION.gates.model_copy(update={"champion": other}))
    assert "That is not v3" in proposal.body(PROMOTION)
    assert "That is not" not in proposal.body(right)
    assert "That is not" not in proposal.body(replace(PROMOTION, environment="staging"))


@given(words_of_others())
def test_texts_of_others_stay_text(words):
    content = replace(
        PROMOTION if len(words) % 2 else ROLLBACK,
        environment=words,
        before=words,
        signer=words,
        reason=words,
        new=replace(PROMOTION.new, trained=words, metrics={words: Estimate(value=0.5, interval=None)}),
        merged=(LandedCommit("c" * 40, words, "#12"),),
        config=(Difference(words, words, [words]),),
    )
    text = proposal.body(content)
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    tags = set(re.findall(r"<([a-zA-Z][a-zA-Z0-9]*|!)", page))
    assert tags <= {"h3", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "strong", "ul", "li"}
    outside = re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL).replace("#12", "")
    assert not re.search(r"@\w|(?<!&)#\w|https?://|www\.\w|GH-\d", outside), outside
    message = proposal.message(replace(ROLLBACK, reason=words))
    assert len(message.splitlines()) == 3 + bool(words.strip())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", message)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Merge pull request #12 from acme/work\n\nA title (#3)\n", ("A title (#3)", "#12")),
        ("Merge pull request #12 from acme/work", ("Merge pull request #12 from acme/work", "#12")),
        ("A title (#12)\n\nMore", ("A title", "#12")),
        ("Merge branch 'work' into 'main'\n\nA title\n\nSee merge request acme/model!12", ("A title", "!12")),
        ("A title\n\nSee merge request acme/group/model!12\n", ("A title", "!12")),
        ("Merge branch 'work'", ("Merge branch 'work'", None)),
        ("A title (#x) of (#3) things", ("A title (#x) of (#3) things", None)),
        ("", ("", None)),
    ],
)
def test_a_commits_message_names_its_pull_request(message, found):
    assert landed("c", message) == LandedCommit("c", *found)


def version(number):
    return None if number is None else Version("m", number)


@pytest.mark.parametrize(
    ("ran", "previous"),
    [
        ([None, 1, 2], 1),
        ([1, 2, 1], None),
        ([1, 2, 3, 2], 1),
        ([1, 2, 1, 3], 1),
        ([1, 2, None], 2),
        ([None, 1], None),
        ([1, None, 2], 1),
        ([None], None),
        ([], None),
    ],
)
def test_one_rolls_back_to_what_ran_before_and_was_not_rolled_back(ran, previous):
    assert proposal.previous([version(number) for number in ran]) == version(previous)


def test_latest_is_the_newest_version_on_the_line_so_far():
    declared = {"b": "latest", "e": 1, "g": None, "h": "latest"}
    tagged = {"c": version(1), "d": version(2), "f": version(3)}
    found = proposal.runs("abcdefgh", "m", declared, tagged)
    assert [one and one.number for one in found] == [None, 1, 2, 1, None, 3]


@given(st.lists(st.sampled_from([None, 1, 2, 3, "latest"]), max_size=12))
def test_what_is_rolled_back_to_ran_and_is_not_what_runs(declared):
    line = [str(place) for place in range(len(declared))]
    tagged = {place: version(int(place) // 3 + 1) for place in line if int(place) % 3 == 0}
    ran = proposal.runs(line, "m", dict(zip(line, declared, strict=True)), tagged)
    found = proposal.previous(ran)
    assert found is None or (found in ran and found != ran[-1])


@pytest.mark.parametrize(
    ("move", "told"),
    [
        (Move("production", "v3", "v4", "v4", back=False), "Promotes v4 to production"),
        (Move("production", "v4", "v3", "v3", back=True), "Rolls production back to v3"),
        (Move("staging", "v3", "latest", "v4", back=False), "Promotes v4 (latest) to staging"),
        (Move("production", "v3", "null", None, back=False), "Has production run nothing"),
        (
            Move("production", "", "", "v5", back=False, kind="canary", share=2.5),
            "Tries v5 in production as a canary, which answers 2.5 %",
        ),
    ],
)
def test_a_move_is_told_in_words(move, told):
    assert moves.in_words(move, str) == told
