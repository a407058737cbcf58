"""The dashboard's page: compared with golden pages, deaf to hostile texts, and looked at in a real browser, as served.

`python -m tests.review.test_dashboard` writes the golden files anew.
"""

import http.client
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser import Screen, browser, contrast
from tests.dashboards import IN_ORDER, UNKNOWN, WRONG, hostile, report, standing
from tests.review.test_page import MARKUP, Skeleton
from trunkline.review.dashboard import page
from trunkline.review.dashboard.data import Environment, Failed
from trunkline.review.dashboard.server import LOCAL, Latest, Server
from trunkline.review.dashboard.troubles import troubles

GOLDEN = Path(__file__).parents[1] / "golden/dashboard"
GOLDENS = {"in_order.html": IN_ORDER, "wrong.html": WRONG, "unknown.html": UNKNOWN}


def shortened(name):
    """A page as its golden file has it: without the style, which all pages share, and its hash."""
    text = re.sub("<style>.*?</style>", "<style></style>", page.render(GOLDENS[name]), flags=re.DOTALL)
    return re.sub(r"sha256-[^&]*", "sha256-…", text)


@pytest.mark.parametrize("golden", GOLDENS)
def test_a_page_reads_as_it_did(golden):
    assert shortened(golden) == (GOLDEN / golden).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("dashboard", "answer"),
    [
        (IN_ORDER, "Everything is in order"),
        (WRONG, "Not everything is in order"),
        (UNKNOWN, "Not everything is known"),
        (replace(IN_ORDER, environments=IN_ORDER.environments[-1:]), "Nothing runs"),
        (replace(IN_ORDER, changes=UNKNOWN.changes), "Not everything is known"),
        (replace(IN_ORDER, changes=WRONG.changes), "Not everything is in order"),
    ],
)
def test_the_first_line_is_the_answer(dashboard, answer):
    assert re.findall("<h1><strong>(.*?)</strong>", page.render(dashboard)) == [answer]


def test_too_little_to_be_judged_is_not_healthy():
    [trouble] = troubles(replace(IN_ORDER, environments=(watched([0.02], rows=3),)))
    assert (trouble.level, trouble.where) == ("unknown", "production")
    assert trouble.text.startswith("its health is not known: no rule can be judged")
    assert ">not known</span>" in page.render(replace(IN_ORDER, environments=(watched([0.02], rows=3),)))


def test_what_logs_nothing_is_a_breach():
    [trouble] = troubles(replace(IN_ORDER, environments=(watched([], rows=0),)))
    assert (trouble.level, trouble.where) == ("bad", "production")
    assert "production has logged no row of" in trouble.text


def watched(values, rows):
    """An environment whose log has windows with these values, of so many rows."""
    return Environment(standing("production"), watched=report(values, rows=rows))


def test_what_is_secret_of_an_address_is_not_shown():
    address = "s3://reader:pa55word@logs/late?region=eu&secret_key=hidden: cannot be read"
    odd = replace(IN_ORDER, environments=Failed(address), changes=replace(IN_ORDER.changes, unknown=(address,)))
    text = page.render(odd)
    assert text.count("s3://logs/late?region=eu&amp;secret_key=… cannot be read") == 3
    assert not re.search("reader|pa55word|hidden", text)


@pytest.mark.parametrize("words", MARKUP)
def test_texts_of_others_stay_text(words):
    harmless, odd = (Skeleton(page.render(hostile(text))) for text in ("harmless", words))
    ours = [[tag for tag in of.tags if tag[0] != "a"] for of in (harmless, odd)]
    same = [[re.sub(r"\('(id|aria-labelledby)', [^)]*\)", r"\1", str(tag)) for tag in tags] for tags in ours]
    assert same[0] == same[1]
    links = [dict(attributes)["href"] for tag, *attributes in odd.tags if tag == "a"]
    assert [link for link in links if not link.startswith("#")] == []


@contextmanager
def served(make, refresh=3600.0, *, local=True):
    with Server(LOCAL, 0, Latest(make, refresh), local=local) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def get(port, path="/", method="GET", hosts=("localhost",)):
    connection = http.client.HTTPConnection(LOCAL, port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def whole(port):
    """The first page, once it is there."""
    while (answer := get(port))[0] == 503:
        time.sleep(0.01)
    return answer


def test_it_answers_a_get_of_one_page_by_a_name_of_this_machine_alone():
    with served(lambda: "page") as port:
        whole(port)
        for hosts in (["localhost"], [f"127.0.0.1:{port}"], ["[::1]:80"], ["LOCALHOST"]):
            assert get(port, hosts=hosts)[0] == 200, hosts
        for hosts in ([], ["evil.example"], ["localhost.evil.example"], ["127.0.0.1@evil.example"], ["localhost"] * 2):
            assert get(port, hosts=hosts)[0] == 421, hosts
        assert [get(port, path)[0] for path in ("/?x", "/favicon.ico", "/../params.yaml")] == [200, 404, 404]
        assert {get(port, method=method)[0] for method in ("POST", "HEAD", "PUT", "DELETE", "OPTIONS")} == {501}
    with served(lambda: "page", local=False) as port:
        whole(port)
        assert get(port, hosts=["dashboard.example"])[0] == 200


def test_headers_keep_the_page_to_itself():
    with served(lambda: page.render(IN_ORDER)) as port:
        headers = whole(port)[1]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert headers["Content-Security-Policy"].endswith("base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    assert (headers["Cache-Control"], headers["Server"], headers["Refresh"]) == ("no-store", "trunkline", None)


def test_a_slow_read_keeps_nobody_waiting_and_the_last_page_stays(capfd):
    go_on, made = threading.Semaphore(0), []

    def make():
        go_on.acquire()
        made.append(None)
        if len(made) == 2:
            raise RuntimeError("a bug")
        return f"page {len(made)}"

    with served(make, refresh=0.0) as port:
        status, headers, _ = get(port)
        assert (status, headers["Refresh"]) == (503, "2")
        assert get(port)[0] == 503
        go_on.release()
        status, headers, text = whole(port)
        assert (status, text, headers["Refresh"], len(made)) == (200, "page 1", "2", 1)
        go_on.release()  # the second one fails
        while len(made) < 2:
            time.sleep(0.01)
        assert get(port)[2] == "page 1"
        go_on.release()
        while get(port)[2] != "page 3":
            time.sleep(0.01)
        go_on.release(9)
    assert "RuntimeError: a bug" in capfd.readouterr().err


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield Screen(*opened)


@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize("dashboard", [IN_ORDER, WRONG, UNKNOWN, hostile("W" * 3000)], ids=range(4))
def test_a_browser_shows_all_of_it_within_the_screen_and_asks_nobody_else(screen, dashboard, width):
    with served(lambda: page.render(dashboard)) as port:
        whole(port)
        screen.look(f"http://localhost:{port}/", width)
        assert screen.asked("document.documentElement.scrollWidth") <= width
        assert screen.complaints() == []
        answer = screen.driver.find_element(By.CSS_SELECTOR, "h1 strong")
        assert answer.is_displayed()
        assert answer.rect["y"] + answer.rect["height"] < 400
        assert (
            screen.asked("performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:'))") == []
        )


@pytest.mark.parametrize("dark", [False, True])
def test_it_reads_in_the_light_and_in_the_dark_and_is_walked_by_keys(screen, dark):
    with served(lambda: page.render(WRONG)) as port:
        whole(port)
        screen.look(f"http://localhost:{port}/", 1200, dark=dark)
        paper = screen.driver.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        assert (contrast(paper, "0 0 0") < 2) == dark
        for selector in ("body", ".muted", ".good", ".bad", ".warn", "main a", "summary", "thead th"):
            colour = screen.driver.find_element(By.CSS_SELECTOR, selector).value_of_css_property("color")
            assert contrast(colour, paper) >= 4.5, selector
        walked = [walk(screen) for _ in range(13)]
    assert [name for name, _ in walked] == ["A"] * 8 + ["SUMMARY", "A", "A", "DIV", "A"]
    assert {style for _, style in walked} == {"solid"}  # our own, which is seen on the banner too


def walk(screen):
    """Go on to what a key reaches next: its name, and how it is outlined."""
    screen.driver.switch_to.active_element.send_keys(Keys.TAB)
    return screen.asked("[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in GOLDENS:
        (GOLDEN / each).write_text(shortened(each), encoding="utf-8")
