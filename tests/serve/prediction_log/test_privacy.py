"""What is personal, and what becomes of it."""

import json

import pytest

from trunkline.conf.serving import Log
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.serve.prediction_log.privacy import Privacy, personal

PARAMS = {
    "contract": {
        "tables": {
            "calls": {"privacy": "internal", "columns": {"city": {}, "born": {"privacy": "personal"}, "hour": {}}},
            "people": {"privacy": "sensitive", "columns": {"name": {}, "shoe": {"privacy": "public"}}},
        }
    },
    "data": {"derive": {"calls": {"year": "born // 100"}}},
    "features": {
        "views": {
            "row": {"kind": "expression", "features": {"age": "hour - year", "old": "age > 60", "late": "hour > 20"}},
            "past": {
                "kind": "rolling",
                "features": {"names": {"aggregate": "mean", "of": "name"}, "n": {"aggregate": "count"}},
            },
        }
    },
}


def test_what_is_made_of_personal_columns_is_personal():
    assert personal(Params(PARAMS)) == {"born", "name", "year", "age", "old", "names"}
    assert personal(Params({})) == frozenset()


def test_what_is_declared_counts_and_else_what_is_personal_is_left_out(monkeypatch):
    monkeypatch.setenv("LOG_KEY", "a key of many letters")
    log = Log.model_validate({"to": "log", "columns": {"age": "keep", "city": "hash"}, "key": "LOG_KEY"})
    privacy = Privacy.of(log, frozenset({"age", "born"}))
    assert [privacy.treatment(name) for name in ("age", "born", "city", "hour")] == [
        "keep",
        "leave_out",
        "hash",
        "keep",
    ]
    treated = json.loads(privacy.request_columns(json.dumps({"born": 1970, "city": "Ulm", "hour": 3})))
    assert treated == {"city": privacy.hashed("city", "Ulm"), "hour": 3}
    assert privacy.hashed("city", "Ulm") != privacy.hashed("town", "Ulm")
    assert privacy.hashed("city", None) is None


def test_a_key_that_can_be_guessed_is_refused(monkeypatch):
    monkeypatch.setenv("LOG_KEY", "short")
    with pytest.raises(UserError, match="LOG_KEY has to hold a key, 16 characters or more"):
        Privacy.of(Log.model_validate({"to": "log", "columns": {"age": "hash"}, "key": "LOG_KEY"}), frozenset())
