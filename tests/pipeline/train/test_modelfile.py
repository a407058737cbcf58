"""A model file is loaded by name of type only, and holds nothing but the fitted values."""

import io
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from scipy.sparse import csr_matrix
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from trunkline.core.errors import UserError
from trunkline.pipeline.train import modelfile

OTHERS = [
    BaggingClassifier(random_state=0),
    CalibratedClassifierCV(LogisticRegression()),
    ExtraTreesClassifier(5, random_state=0),
    GaussianNB(),
    GradientBoostingClassifier(n_estimators=5, random_state=0),
    MLPClassifier((4,), max_iter=2000, random_state=0),
]


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    features = random.normal(size=(400, 5))
    return features, (features[:, 0] + random.normal(size=400) > 0).astype(np.int8)


def pipeline(estimator: object, rows: tuple[np.ndarray, np.ndarray]) -> Pipeline:
    return Pipeline([("preprocess", StandardScaler()), ("estimator", estimator)]).fit(*rows)


def test_saving_again_and_saving_what_was_loaded_gives_the_same_bytes(rows, tmp_path: Path) -> None:
    first, second = tmp_path / "a.skops", tmp_path / "b.skops"
    fitted = pipeline(RandomForestClassifier(40, random_state=1), rows)
    modelfile.save(fitted, first)
    clutter = [np.random.default_rng(i).bytes(64 * i) for i in range(200)]  # other memory, other padding
    modelfile.save(modelfile.load(first), second)
    assert first.read_bytes() == second.read_bytes()
    assert np.array_equal(fitted.predict_proba(rows[0]), modelfile.load(second).predict_proba(rows[0]))
    assert modelfile.canonical(first.read_bytes()) == first.read_bytes()
    assert len(clutter) == 200


def test_nothing_accidental_is_in_the_file(rows, tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    modelfile.save(pipeline(RandomForestClassifier(5, random_state=1), rows), path)
    with zipfile.ZipFile(path) as content:
        assert {entry.date_time for entry in content.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert content.namelist() == sorted(content.namelist())
        assert b"__id__" not in content.read("schema.json")
        for name in content.namelist():
            if name.endswith(".npy"):
                data = content.read(name)
                array = np.load(io.BytesIO(data))
                if array.dtype.names:  # the seven bytes after the last field of a tree's node
                    raw = np.frombuffer(data[-array.nbytes :], np.uint8).reshape(len(array), array.dtype.itemsize)
                    assert not raw[:, 57:].any()


def test_shared_parts_and_sets_load_as_equal_values(rows, tmp_path: Path) -> None:
    estimator = LogisticRegression(class_weight={0: 1.0, 1: 2.0})
    fitted = pipeline(estimator, rows)
    shared = np.arange(3.0)
    fitted.first_, fitted.second_, fitted.names_ = shared, shared, {"b", "a", "c"}
    modelfile.save(fitted, tmp_path / "model.skops")
    loaded = modelfile.load(tmp_path / "model.skops")
    assert np.array_equal(loaded.first_, shared)
    assert np.array_equal(loaded.second_, shared)
    assert loaded.names_ == {"a", "b", "c"}
    assert loaded[-1].class_weight == {0: 1.0, 1: 2.0}


def test_a_type_that_is_not_trusted_is_named_and_never_run(rows, tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    hostile = Pipeline([("f", FunctionTransformer(subprocess.check_output)), ("m", LogisticRegression())])
    with pytest.raises(UserError, match=r"model\.skops: .*not trusted: subprocess\.check_output"):
        modelfile.save(hostile, path)
    assert not path.exists()
    skops.io.dump(hostile, path)
    with pytest.raises(UserError, match=r"not trusted: subprocess\.check_output"):
        modelfile.load(path)


def test_what_is_no_model_file_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    for content in (b"", b"not a zip", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.skops: is not a model file"):
            modelfile.load(path)


@pytest.mark.parametrize("estimator", OTHERS, ids=lambda each: type(each).__name__)
def test_other_estimators_round_trip(estimator, rows, tmp_path: Path) -> None:
    fitted, path = pipeline(estimator, rows), tmp_path / "model.skops"
    modelfile.save(fitted, path)
    assert np.array_equal(fitted.predict_proba(rows[0]), modelfile.load(path).predict_proba(rows[0]))


@pytest.mark.parametrize("estimator", [KNeighborsClassifier(), SVC()], ids=lambda each: type(each).__name__)
def test_an_estimator_that_holds_a_sparse_matrix_round_trips_in_bytes_of_its_values_alone(estimator, rows, tmp_path):
    """As of one-hot columns: of every kind of node that names a file, the file is found again."""
    first, second = tmp_path / "a.skops", tmp_path / "b.skops"
    sparse = csr_matrix(rows[0] > 1)
    estimator.fit(sparse, rows[1])
    fitted = Pipeline([("estimator", estimator)])
    fitted.extra_ = {"file": sparse.tocsc(), "bytes": b"x", "bytearray": bytearray(b"y")}
    modelfile.save(fitted, first)
    loaded = modelfile.load(first)
    assert np.array_equal(fitted.predict(sparse), loaded.predict(sparse))
    assert (loaded.extra_["file"] != sparse).nnz == 0
    assert (loaded.extra_["bytes"], loaded.extra_["bytearray"]) == (b"x", bytearray(b"y"))
    modelfile.save(loaded, second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as content:
        matrices = [content.read(name) for name in content.namelist() if name.endswith(".npz")]
    assert matrices
    for matrix in matrices:  # compressed bytes would be those of a build of zlib
        with zipfile.ZipFile(io.BytesIO(matrix)) as arrays:
            assert {entry.compress_type for entry in arrays.infolist()} == {zipfile.ZIP_STORED}


def test_an_estimator_that_could_not_be_loaded_is_refused_when_saved(rows, tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    with pytest.raises(UserError, match=r"not trusted: .*ChebyshevDistance64; use another estimator"):
        modelfile.save(pipeline(KNeighborsClassifier(metric="chebyshev"), rows), path)
    assert not path.exists()
