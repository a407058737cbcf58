"""The dashboard as Grafana lays it out: a row for each question, and nothing on top of something else."""

import json
from itertools import combinations

from trunkline.conf.monitoring import Monitoring
from trunkline.monitor.render import dashboard

ROWS = ["Is it healthy", "Traffic and latency", "Model and rollout", "Prediction log", "Features", "Streams", "Monitor"]


def test_every_panel_has_a_place_of_its_own_and_the_chosen_data_source():
    content = json.loads(dashboard.render(Monitoring.parse({})))
    panels = content["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == ROWS
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert max(place["x"] + place["w"] for place in places) <= 24
    assert not any(overlap(one, other) for one, other in combinations(places, 2))
    sources = {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", [])}
    assert sources == {"${datasource}"}
    assert [each["name"] for each in content["templating"]["list"]] == ["datasource", "environment"]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))


def test_the_quantile_that_is_watched_is_shown():
    def shown(**latency: float) -> str:
        return dashboard.render(Monitoring.parse({"alerting": {"rules": {"latency": latency}}}))

    assert ("90 %" in shown(), "90 %" in shown(quantile=0.9)) == (False, True)
