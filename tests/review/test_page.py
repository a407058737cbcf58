"""The page of a review: compared with golden pages, deaf to hostile texts, and looked at in a real browser.

`python -m tests.review.test_page` writes the golden files anew.
"""

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selenium.webdriver.common.by import By

from tests.browser import Screen, browser, contrast
from tests.reviews import BLOCKED, HOSTILE, MOVED_ON, REVIEW, STALE, UNDEFINED, hostile, many, step, words_of_others
from trunkline.pipeline.plan.reasons import ReproPlan
from trunkline.pipeline.reports import Past
from trunkline.review import page, pictures
from trunkline.review.data import Curve
from trunkline.show import markdown

GOLDEN = Path(__file__).parents[1] / "golden/page"
GOLDENS = {"pass.html": REVIEW, "blocked.html": BLOCKED, "stale.html": STALE, "moved_on.html": MOVED_ON}
MARKUP = (
    '"><img src=//evil.example/p.png onerror=alert(1)>',
    "</title></style></svg></table></main><script>document.title = 'ran'; alert(1)</script>",
    "' onmouseover='alert(1)' style='position:fixed",
    "{{ 7 * 7 }}{% for %} ]]> --> <!-- <a href=javascript:alert(1)>x</a>",
    "var(--bad) #0f0f05 <use href=//evil.example/#x /> &lt;script&gt;",
    "x" * 3000,
)


def without_pictures(text):
    return re.sub(r"(<svg [^>]*?aria-label=\"[^\"]*\").*?</svg>", r"\1></svg>", text, flags=re.DOTALL)


def shortened(name):
    """A page as its golden file has it; the style, which all pages share, is in the first file alone."""
    text = without_pictures(page.render(GOLDENS[name]))
    return (
        text if name == next(iter(GOLDENS)) else re.sub("<style>.*?</style>", "<style></style>", text, flags=re.DOTALL)
    )


def test_a_metric_without_a_value_says_why():
    said = "undefined: none of 900 rows is of the class &#39;x | @octocat&#39;"
    rows = [line for line in page.render(UNDEFINED).splitlines() if said in line]
    assert ["roc_auc" in rows[0], "zone north" in rows[1], len(rows)] == [True, True, 2]
    assert not [row for row in rows if ">new<" in row]


class Skeleton(HTMLParser):
    """Every tag with its attributes, but for the labels, and the text between."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *((name, "" if name == "aria-label" else value) for name, value in attrs)))

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}",))

    def handle_comment(self, data):
        self.tags.append(("comment", data))

    def handle_data(self, data):
        self.text += data


def every_text_is(words):
    """A stale review whose stage, too, has these words for a name."""
    return replace(hostile(words), plan=ReproPlan("a" * 40, (step(words, "runs", [words]),)))


@pytest.mark.parametrize("golden", GOLDENS)
def test_a_page_reads_as_it_did(golden):
    assert shortened(golden) == (GOLDEN / golden).read_text(encoding="utf-8")


def test_equal_reviews_give_equal_bytes():
    assert page.render(replace(REVIEW)) == page.render(REVIEW)


@cache
def harmless_tags(made, odd):
    """The tags of a page whose texts of others are harmless, and of an odd or even length."""
    return Skeleton(without_pictures(page.render(made("innocuous" if odd else "harmless")))).tags


@settings(max_examples=12)
@given(words=words_of_others().filter(bool) | st.sampled_from(MARKUP))
def test_texts_of_others_stay_text(words):
    for made in (hostile, every_text_is):
        text = page.render(made(words))
        found = Skeleton(without_pictures(text))
        assert found.tags == harmless_tags(made, len(words) % 2)
        assert found.text.count(markdown.plain(words, page.LONGEST)) >= 10
        for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(picture).iter()}
            assert tags <= {"svg", "g", "defs", "path", "use", "clipPath", "rect"}


@pytest.mark.parametrize("content", [REVIEW, hostile(HOSTILE)])
def test_it_loads_nothing(content):
    text = page.render(content)
    found = Skeleton(text)
    addresses = {value for _, *attributes in found.tags for name, value in attributes if re.search("href|src", name)}
    assert [one for one in addresses if not one.startswith("#")] == []
    assert re.findall(r"@import|url\((?!#)", text) == []
    policy = [
        dict(attributes)["content"]
        for tag, *attributes in found.tags
        if tag == "meta" and "http-equiv" in dict(attributes)
    ]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]


def test_what_a_comment_leaves_out_is_here():
    window = [f"feature_{number}" for number in range(60)]
    rules = REVIEW.reports.gates.gates
    gates = tuple(replace(rules[0], id=f"rule_{number}", reason=f"{'long ' * 99}{number}") for number in range(400))
    found = Skeleton(
        page.render(
            replace(
                REVIEW,
                config=tuple(
                    replace(one, change=replace(one.change, key=f"key_{number}", after=window))
                    for number, one in enumerate(REVIEW.config * 300)
                ),
                slices=tuple(replace(REVIEW.slices[0], where=f"slice_{number}") for number in range(90)),
                plan=ReproPlan("a" * 40, (step("train", reasons=[f"reason_{number}" for number in range(30)]),)),
                reports=REVIEW.reports.model_copy(
                    update={"gates": REVIEW.reports.gates.model_copy(update={"gates": gates})}
                ),
            )
        )
    ).text
    assert [number for number in range(400) if f"{'long ' * 99}{number}" not in found] == []
    assert [number for number in range(300) if f"key_{number}" not in found] == []
    assert [number for number in range(90) if f"slice_{number}" not in found] == []
    assert [number for number in range(30) if f"reason_{number}" not in found] == []
    assert found.count(", ".join(f'"{name}"' for name in window)) == 300


def test_slices_that_the_base_has_not_are_shown_too():
    text = page.render(replace(REVIEW, slices=()))
    [few, new] = (re.search(rf'row">{where}<.*?</tr>', text) for where in ("carrier HA", "origin JFK"))
    assert "too few rows" in few[0]
    assert "new" in new[0]


def marks(picture, colour):
    """The places of a picture's marks of a colour, from left to right."""
    root = ElementTree.fromstring(str(picture.svg))
    used = [
        one for one in root.iter("{http://www.w3.org/2000/svg}use") if f"fill: var(--{colour})" in one.get("style", "")
    ]
    return [float(one.get("x")) for one in used]


def test_a_change_for_the_better_is_drawn_to_the_right():
    gain = REVIEW.whole[0]
    loss = replace(gain, better=-0.004, interval=(-0.006, -0.001))
    noise = replace(gain, better=0.002, interval=(-0.001, 0.006))
    drawn = pictures.changes([gain, loss, noise])
    [better], [worse] = marks(drawn, "good")[:1], marks(drawn, "bad")[:1]
    assert worse < better
    assert pictures.changes([replace(gain, better=None)]) is None
    assert marks(pictures.changes([noise]), "good") == marks(pictures.changes([noise]), "bad") == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_what_no_axis_can_hold_is_not_drawn(value):
    odd = replace(REVIEW.whole[0], better=value, interval=(value, value))
    assert pictures.changes([odd]) is None
    assert "<svg" in page.render(
        replace(
            REVIEW,
            whole=(odd, *REVIEW.whole),
            curves=(Curve("roc", ((0.0, value),)), Curve("observed", ((value, 1.0), (2.0, value)))),
        )
    )


class Pages(Screen):
    """A browser that shows pages from a file."""

    def show(self, text, width, height=800, dark=False):
        file = self.folder / "page.html"
        file.write_text(text, encoding="utf-8")
        self.look(file.as_uri(), width, height, dark)


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield Pages(*driver)


PAGES = {
    "pass": REVIEW,
    "blocked": BLOCKED,
    "stale": STALE,
    "nothing to compare with": replace(REVIEW, whole=(), slices=(), past=Past()),
    "moved on": MOVED_ON,
    "hostile": hostile(HOSTILE),
    "one long word": every_text_is("W" * 3000),
    "much": many("carrier_of_a_long_name UA", 25),
}


@cache
def rendered(name):
    return page.render(PAGES[name])


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_a_browser_shows_all_of_it_within_the_screen(screen, name, width):
    screen.show(rendered(name), width)
    assert screen.asked("document.documentElement.scrollWidth") <= width
    assert screen.complaints() == []
    answer = screen.driver.find_element(By.CSS_SELECTOR, "h1 strong")
    assert answer.is_displayed()
    assert answer.rect["y"] + answer.rect["height"] < 800
    boxes = screen.asked("[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().toJSON())")
    assert len(boxes) >= 2
    assert all(box["width"] > 100 and box["height"] > 60 and box["right"] <= width for box in boxes)
    assert screen.asked("performance.getEntriesByType('resource').length") == 0


def test_on_a_phone_what_decides_is_seen_without_moving_sideways(screen):
    screen.show(page.render(BLOCKED), 390)
    screen.asked("document.querySelectorAll('details').forEach(one => one.open = true)")
    cells = "document.querySelectorAll('.stack td, .stack th[scope=row], [aria-labelledby=metrics] td:nth-child(-n+4)')"
    seen = screen.asked(f"[...{cells}].map(one => [one.innerText, one.getBoundingClientRect().right])")
    assert len(seen) > 40
    assert [text for text, right in seen if right > 390] == []
    assert any("below 0.65" in text for text, _ in seen)


NAMES = "[...document.querySelectorAll('body, body *')].map(one => one.localName + '.' + one.getAttributeNames())"


@pytest.fixture(scope="module")
def known(screen):
    """The elements of a page whose texts are all harmless, each with the names of its attributes."""
    screen.show(page.render(every_text_is("harmless")), 390)
    return set(screen.asked(NAMES))


@pytest.mark.parametrize("words", [HOSTILE, *MARKUP], ids=range(1 + len(MARKUP)))
def test_a_browser_runs_and_makes_nothing_of_hostile_texts(screen, known, words):
    screen.show(page.render(every_text_is(words)), 390)
    assert set(screen.asked(NAMES)) == known
    assert screen.driver.title.startswith("Not reproduced")
    assert screen.asked("document.scripts.length + document.images.length + document.links.length") == 0
    assert screen.complaints() == []


def test_what_would_get_past_the_escaping_is_refused_by_the_policy(screen):
    smuggled = "<script>document.title = 'ran'</script><img src='https://evil.example/p.png' onerror='alert(1)'></main>"
    screen.show(page.render(REVIEW).replace("</main>", smuggled), 390)
    assert screen.driver.title.startswith("May be merged")
    refused = screen.complaints()
    assert len(refused) >= 2
    assert all("Content Security Policy" in message for message in refused)


@pytest.mark.parametrize("dark", [False, True])
def test_its_letters_can_be_read_in_the_light_and_in_the_dark(screen, dark):
    screen.show(page.render(BLOCKED), 390, dark=dark)
    paper = screen.driver.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert (contrast(paper, "0 0 0") < 2) == dark
    for selector in ("body", ".muted", ".good", ".bad", ".warn", ".none", "summary", "thead th"):
        colour = screen.driver.find_element(By.CSS_SELECTOR, selector).value_of_css_property("color")
        assert contrast(colour, paper) >= 4.5, selector
    fill = screen.asked("getComputedStyle(document.querySelector('svg use')).fill")
    assert fill == "none" or contrast(fill, paper) >= 3


def test_curves_are_drawn_over_those_of_the_base_and_scores_by_label():
    def lines(picture, colour):
        return str(picture.svg).count(f"stroke: var(--{colour})")

    roc = Curve("roc", ((0.0, 0.0), (0.2, 0.6), (1.0, 1.0)))
    alone, beside = (pictures.curve(curve) for curve in (roc, replace(roc, base=roc.points)))
    assert lines(beside, "muted") == lines(alone, "muted") + 2, "the base's line, here and in the legend"
    negative, positive = (Curve(kind, ((0.25, 0.8), (0.75, 0.2))) for kind in pictures.SCORES)
    assert pictures.scores([roc, negative]) is None
    drawn = pictures.scores([roc, negative, positive])
    assert (lines(drawn, "good"), lines(drawn, "bad")) == (2, 2)


def main():
    """Write the golden files anew."""
    for name in GOLDENS:
        (GOLDEN / name).write_text(shortened(name), encoding="utf-8")


if __name__ == "__main__":
    main()
