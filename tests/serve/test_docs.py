"""The page at /docs in a real browser: it scores a row, says why, shows what is wrong beside its field."""

import json
import re
import shlex
import subprocess

import msgspec
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser import Screen, browser, contrast
from tests.bundles import INPUTS
from tests.serve.auth.test_authenticate import add_key
from tests.serve.conftest import GOOD, PARAMS, golden_bundle
from tests.serve.explain.test_asked import explained_project
from tests.serving import serving
from trunkline.bundle.contract import Input
from trunkline.bundle.schema import request_schema

SECONDS = 20
NAMES = [field["name"] for field in INPUTS]
PAPER = """[...function* (at) {{ for (; at; at = at.parentElement) yield getComputedStyle(at).backgroundColor }}(
  document.querySelector({!r}))].find(colour => colour !== "rgba(0, 0, 0, 0)")"""  # what an element's text stands on


class Page(Screen):
    """The page of a server, as a person uses it."""

    def open(self, server, width=1200, dark=False):
        self.look(f"{server.address}/docs", width, 900, dark)

    def wait(self, condition):
        return WebDriverWait(self.driver, SECONDS, 0.02).until(lambda _: condition())

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def field(self, name):
        """The control that a label names."""
        label = self.wait(lambda: self.driver.find_elements(By.XPATH, f"//label[text()='{name}']"))[0]
        return self.one(f"#{label.get_attribute('for')}")

    def press(self, name):
        button = f"//button[text()='{name}']"
        self.wait(lambda: [each for each in self.driver.find_elements(By.XPATH, button) if each.is_displayed()])
        self.driver.find_element(By.XPATH, button).click()

    def score(self):
        """Press the button, and wait for a score or for a problem."""
        self.press("Score the row")
        self.wait(lambda: self.one("#go").is_enabled())

    def text(self, selector):
        return self.one(selector).text


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield Page(*driver)


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """A server of a model that has fields of every type and cannot be explained."""
    home = tmp_path_factory.mktemp("page")
    (home / "params.yaml").write_text(PARAMS, encoding="utf-8")
    inputs = [field | ({"levels": ["EWR", "JFK"]} if field["name"] == "origin" else {}) for field in INPUTS]
    schema = request_schema([msgspec.convert(field, Input) for field in inputs])
    golden_bundle(home / "bundle", inputs=inputs, request=schema)
    with serving("bundle", cwd=home) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return explained_project(tmp_path_factory.mktemp("explained"))


@pytest.fixture(scope="module")
def key(home):
    return add_key(home, "person", "predict", "explain")


@pytest.fixture(scope="module")
def explaining(home, key):
    with serving("bundle", cwd=home) as server:
        yield server


def enter_key(page, key):
    page.one("#key").send_keys(key, Keys.TAB)
    page.wait(lambda: page.one("#form").is_displayed())


def test_an_example_is_scored_as_the_server_scores_it(page, sums):
    page.open(sums)
    page.press("Fill with an example")
    page.score()
    assert page.text("#score") == str(sums.post("/v1/predict", GOOD).json["score"]).removesuffix(".0")
    assert "cannot be explained exactly: its graph adds what the operator Sum makes" in page.text("#why")
    assert not page.one("#bars").is_displayed()
    assert re.search(r"took \d+ ms", page.text("#took"))


def test_each_type_has_its_control_and_what_is_left_empty_is_missing(page, sums):
    page.open(sums)
    assert [option.text for option in Select(page.field("kind")).options] == ["missing", "arrival", "departure"]
    assert [option.text for option in Select(page.field("engines")).options] == ["missing", "1", "2", "4"]
    Select(page.field("holiday")).select_by_visible_text("true")
    listed = f"#{page.field('origin').get_attribute('list')} option"
    assert page.asked(f"[...document.querySelectorAll({listed!r})].map(one => one.value)") == ["EWR", "JFK"]
    hour = page.field("hour")
    assert [hour.get_attribute(name) for name in ("type", "min", "max", "step")] == ["number", "0", "23", "1"]
    hour.send_keys("7")
    page.field("origin").send_keys("JFK")
    page.score()
    row = {"hour": 7, "holiday": True, "origin": "JFK"}
    assert page.text("#score") == str(sums.post("/v1/predict", row).json["score"]).removesuffix(".0")


@pytest.mark.parametrize(
    ("name", "entered", "words"),
    [
        ("hour", "24", "field hour: 24 is above 23"),
        ("dest", "lax", "field dest: 'lax' is not of the form [A-Z]{3}"),
        ("origin", "", "field origin: is missing; give its value: The origin"),
        ("delay", "1e", "field delay: is not a number"),
    ],
)
def test_a_problem_stands_beside_its_field(page, sums, name, entered, words):
    page.open(sums)
    page.press("Fill with an example")
    field = page.field(name)
    field.clear()
    field.send_keys(entered)
    page.score()
    assert page.driver.switch_to.active_element == field
    assert field.get_attribute("aria-invalid") == "true"
    described = field.get_attribute("aria-describedby").split()
    assert page.text(f"#{described[1]}") == page.text("#problem") == words
    assert not page.one("#scored").is_displayed()
    page.press("Fill with an example")
    assert field.get_attribute("aria-invalid") is None


def test_the_curl_command_gives_the_same_score(page, sums):
    page.open(sums)
    page.press("Fill with an example")
    page.field("origin").clear()
    page.field("origin").send_keys("O'Hare \\ $(exit) `x` ✈")
    page.score()
    command = shlex.split(page.text("#curl"))
    assert command[:2] == ["curl", f"{sums.address}/v1/predict"]
    sent = json.loads(command[command.index("-d") + 1])
    assert sent == GOOD | {"origin": "O'Hare \\ $(exit) `x` ✈"}
    printed = subprocess.run(
        ["sh", "-c", f"printf %s {page.text('#curl').split(' -d ')[1]}"], capture_output=True, text=True, check=True
    )
    assert json.loads(printed.stdout) == sent
    page.press("Copy")
    page.wait(lambda: page.text("#copied"))


def test_a_key_is_asked_for_and_stays_in_the_page(page, explaining, key):
    page.open(explaining)
    page.wait(lambda: page.text("#notice"))
    assert page.text("#notice") == "The server asks for an API key."
    assert page.driver.switch_to.active_element == page.one("#key")
    enter_key(page, key)
    page.press("Fill with an example")
    page.score()
    assert page.text("#score")
    assert key not in page.text("#curl")
    assert "Authorization: Bearer $KEY" in page.text("#curl")
    assert page.asked("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.driver.refresh()
    page.wait(lambda: page.text("#notice"))
    assert page.one("#key").get_attribute("value") == ""


def test_it_shows_what_pushed_each_class_up_and_down(page, explaining, home, key):
    page.open(explaining)
    enter_key(page, key)
    page.press("Fill with an example")
    page.score()
    request = json.loads((home / "bundle/golden.json").read_text(encoding="utf-8"))[0]["request"]
    answer = explaining.post("/v1/predict?explain=true", request, Authorization=f"Bearer {key}").json
    scores = sorted(answer["score"].items(), key=lambda item: -item[1])
    rows = page.driver.find_elements(By.CSS_SELECTOR, "#classes tbody tr")
    assert [row.text.split()[0] for row in rows] == [name for name, _ in scores]
    for chosen, _ in scores:
        Select(page.one("#class")).select_by_value(chosen)
        pushes = sorted(answer["explanation"]["contributions"].items(), key=lambda item: -abs(item[1][chosen]))
        rows = page.driver.find_elements(By.CSS_SELECTOR, "#bars tbody tr")
        assert [row.text.split()[0] for row in rows] == [name for name, _ in pushes]
        for row, (_, values) in zip(rows, pushes, strict=True):
            number = row.find_element(By.CSS_SELECTOR, ".number").text
            assert float(number) == pytest.approx(values[chosen], rel=0.006, abs=1e-300)
            bar, track = (row.find_element(By.CSS_SELECTOR, each).rect for each in (".bar", ".track"))
            middle = track["x"] + track["width"] / 2
            assert (bar["x"] >= middle - 1) if values[chosen] > 0 else (bar["x"] + bar["width"] <= middle + 1)


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_the_screen_can_be_read_and_asks_nobody_else(page, explaining, key, width, dark):
    page.open(explaining, width, dark)
    page.complaints()
    enter_key(page, key)
    page.press("Fill with an example")
    page.score()
    assert page.asked("document.documentElement.scrollWidth") <= width
    for selector in ("body", ".hint", ".muted", "caption", "#score", "#curl", ".number", "#go"):
        element = page.one(selector)
        paper = page.asked(PAPER.format(selector))
        assert contrast(element.value_of_css_property("color"), paper) >= 4.5, selector
    assert [line for line in page.complaints() if "security" in line.lower() or "error" in line.lower()] == []
    asked = page.asked("performance.getEntriesByType('resource').map(one => one.name)")
    assert asked
    assert [address for address in asked if not address.startswith((explaining.address, "data:"))] == []


def test_the_keyboard_is_enough(page, sums):
    page.open(sums)
    page.wait(lambda: page.one("#form").is_displayed())
    names = []
    for _ in range(12):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        names.append(page.driver.switch_to.active_element.accessible_name)
    assert names == ["openapi.json", "API key", "Fill with an example", "Clear", *NAMES, "Score the row"]
    page.field("origin").send_keys("JFK")
    page.field("hour").send_keys("7", Keys.ENTER)
    page.wait(lambda: page.text("#score"))


def test_the_policy_refuses_what_is_not_the_pages_own(page, sums):
    answer = sums.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page.open(sums)
    page.complaints()
    made = "document.body.append(Object.assign(document.createElement('{}'), {}))"
    page.asked(made.format("script", "{text: 'document.title = \"ran\"'}"))
    page.asked(made.format("img", "{src: 'http://127.0.0.2/x.png'}"))
    refused = []
    page.wait(lambda: refused.extend(page.complaints()) or len(refused) >= 2)
    assert all("Content Security Policy" in message for message in refused)
    assert page.driver.title != "ran"


def test_it_is_open_to_read_and_holds_nothing_of_the_model(explaining):
    answer = explaining.get("/docs")
    assert answer.status == 200
    assert b"kind" not in answer.body  # a field
    assert explaining.get("/openapi.json").status == 401
