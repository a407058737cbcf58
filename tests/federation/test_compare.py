"""Whether joining helps is told of each site, from the same rows, the right way round."""

import numpy as np
import pytest

from tests.pipeline.bundle.onnx.test_export import KNOWN, dataset, model, steps
from trunkline.conf.model import Model
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.federation import compare
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.evaluate.metrics.kinds import Sample, point
from trunkline.pipeline.train import fit, joint, modelfile

SIGNED = {"repository": "site.git", "version": "delays@v1", "signers": {"release": {"key": "x"}}, "digest": "0" * 64}
BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"
GATES = {"resamples": 500, "rules": {"ranks": {"kind": "threshold", "metric": "log_loss", "maximum": 1}}}


def test_a_site_that_knows_little_is_helped_and_one_that_knows_more_is_not(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = dataset(KNOWN, rows=900)
    paths.FEATURES.mkdir(parents=True)
    rows.frame.write_parquet(paths.FEATURES / "holdout.parquet")
    KNOWN.write()
    single = {"max_iter": 1, "min_samples_leaf": 400, "early_stopping": False}
    models = {
        "able": model(BOOSTING, steps(), max_iter=30, min_samples_leaf=5, early_stopping=False),
        "weak": model(BOOSTING, steps(), **single),
    }
    fits = {name: fit.fit(rows, declared, 7) for name, declared in models.items()}
    graphs = {name: export.export(each, KNOWN) for name, each in fits.items()}
    monkeypatch.setattr(joint, "graph_of", lambda name, site: graphs[name])
    sites = {name: SIGNED | {"rows": 100} for name in graphs}
    content = {"_target_": "trunkline.JointClassifier", "preprocess": steps(), "sites": sites}
    params = Params({"seed": 7, "model": content, "gates": GATES, "evaluation": {"metrics": ["log_loss"]}})

    modelfile.save(fits["able"], paths.MODEL)
    with pytest.raises(UserError, match="is no joint model"):
        compare.compared(params)
    modelfile.save(fit.fit(rows, Model.parse(content), 7), paths.MODEL)
    answers = {each.site: each for each in compare.compared(params)}
    assert {name: each.answer for name, each in answers.items()} == {"able": "hurts", "weak": "helps"}
    loss, of = registry.named("log_loss", "binary"), rows.label.to_numpy()
    scores = {name: fit.scores(each, rows.features) for name, each in fits.items()}
    mean = np.mean(list(scores.values()), axis=0)
    for name, each in answers.items():
        alone, joined = (point([loss], Sample(of, given, np.arange(len(of))))[0] for given in (scores[name], mean))
        assert (each.alone, each.joint, each.better_by) == pytest.approx((alone, joined, alone - joined))
