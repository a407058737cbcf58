"""conf/monitoring refuses rules that could not be judged, and watches the same where nothing is declared."""

import pytest
import yaml
from pydantic import ValidationError

from trunkline.conf.monitoring import RULES, Monitoring, Rule


def test_the_file_that_every_project_gets_says_what_is_watched_without_it(root):
    written = yaml.safe_load((root / "conf/monitoring/common.yaml").read_text(encoding="utf-8"))
    declared, without = Monitoring.parse(written), Monitoring.parse({})
    assert declared.judged == without.judged
    assert list(declared.judged) == list(RULES)
    assert declared.model_copy(update={"rules": None}) == without


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"of": "feature", "measure": "psi"}, "needs a bound: above, below"),
        ({"of": "feature", "measure": "psi", "above": 0.1, "below": 0.0}, "has above and below; keep one"),
        ({"of": "feature", "measure": "psi", "worse_by": 0.1}, "is of performance and estimate, not of feature"),
        ({"of": "feature", "above": 0.1}, "measure: is missing; of feature there are: psi"),
        ({"of": "score", "measure": "pis", "above": 0.1}, "no 'pis' of score; did you mean 'psi'"),
        ({"of": "score", "measure": "psi", "above": 0.1, "slices": True}, "score is not measured by slice, only perf"),
        ({"of": "feature", "measure": "ks", "above_reference": 0.1}, "ks of feature has no reference to compare"),
        ({"of": "system", "measure": "p99", "below_share": 0.1}, "p99 of system has no reference to compare with"),
        ({"of": "system", "subject": "row", "measure": "rate", "below": 1}, "no 'row'; did you mean 'rows'"),
        (
            {"of": "feature", "measure": "psi", "above": 1, "subject": "wind", "apart_from": ["weekday"]},
            "apart_from: the rule is of wind alone",
        ),
        ({"of": "system", "subject": "rows", "measure": "p99", "above": 1}, "no p99 of rows; there is: rate"),
    ],
)
def test_a_rule_that_could_not_be_judged_is_refused(rule, why):
    with pytest.raises(ValidationError, match=why):
        Rule.model_validate(rule)


def test_a_rule_that_needs_more_windows_than_are_read_is_refused():
    rule = {"of": "feature", "measure": "psi", "above": 0.1, "windows": 3}
    with pytest.raises(ValidationError, match=r"rules\.drift\.windows: 3 of them are longer than monitoring\.read"):
        Monitoring.parse({"read": "2d", "rules": {"drift": rule}})


def test_a_bound_of_zero_is_one():
    assert Rule.model_validate({"of": "skew", "measure": "share", "above": 0.0}).bound == ("above", 0.0)
