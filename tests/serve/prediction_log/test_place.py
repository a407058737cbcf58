"""Where segments are: a folder or a bucket, with whole files alone, of which whole hours are removed."""

import sys
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tests.rig.s3 import Remote
from trunkline.core.errors import OutsideError
from trunkline.serve.prediction_log.place import Place, folder

TABLE = pa.table({"request_id": ["one"]})


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    remote = Remote(tmp_path_factory.mktemp("s3"))
    yield remote
    remote.close()


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path, monkeypatch, remote):
    if request.param == "folder":
        return Place(str(tmp_path / "log"))
    # A stand-in for S3 that knows no checksums after the content, as many do not.
    settings = {"AWS_ENDPOINT_URL": remote.endpoint, "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
    for name, value in (remote.environment | settings).items():
        monkeypatch.setenv(name, value)
    return Place(f"s3://{remote.bucket}/{tmp_path.name}")


def test_hours_that_are_older_are_removed_whole_and_nothing_else_is(place):
    hours = ["v1/2026-11-29T12", "v1/2026-11-29T13", "v2/2026-11-28T00", "v2/2026-11-29T14", "v2/notes"]
    for hour in hours:
        place.write(hour, "part-1.parquet", TABLE)
        place.write(hour, "part-2.parquet", TABLE)
    place.remove_before(datetime(2026, 11, 29, 14, 0, tzinfo=UTC))
    left = {hour for hour in hours if place.names(hour)}
    assert left == {"v2/2026-11-29T14", "v2/notes"}
    assert sorted(place.names("v2/notes")) == ["part-1.parquet", "part-2.parquet"]


def test_segments_and_outcomes_are_listed_and_read(place):
    for where, name in (("v2/2026-11-29T14", "part-1"), ("v1/2026-11-29T12", "part-2"), ("labels", "labels-1")):
        place.write(where, f"{name}.parquet", TABLE)
    place.write("labels", "notes.parquet", TABLE)
    segments = [("v1/2026-11-29T12", "part-2.parquet"), ("v2/2026-11-29T14", "part-1.parquet")]
    assert ([*place.segments()], place.labels()) == (segments, ["labels-1.parquet"])
    for where, name in (*segments, ("labels", "labels-1.parquet")):
        with place.open(where, name) as file:
            assert file.read() == TABLE
    with (
        pytest.raises(OutsideError, match=r"labels/gone\.parquet: cannot be read"),
        place.open("labels", "gone.parquet"),
    ):
        pass


def test_numbers_are_split_by_their_bytes_times_are_differences_and_the_rest_has_dictionaries(place):
    inputs = pa.StructArray.from_arrays(
        [pa.array([0.25, None, float("nan")]), pa.array(["a", None, "a"])], ["delay", "carrier"]
    )
    times = pa.array([7, None, 9], pa.timestamp("us", "UTC"))
    ids = ["a" * 36, "b" * 36, "c" * 36]
    table = pa.table({"request_id": ids, "row": [0, 1, 2], "time": times, "inputs": inputs, "score": [0.5, None, 0.75]})
    place.write("v1/2026-11-29T12", "part-1.parquet", table)
    with place.open("v1/2026-11-29T12", "part-1.parquet", ["inputs.carrier"]) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
        split = {each.path_in_schema for each in columns if "BYTE_STREAM_SPLIT" in each.encodings}
        differences = [each.path_in_schema for each in columns if "DELTA_BINARY_PACKED" in each.encodings]
        listed = [each.path_in_schema for each in columns if "RLE_DICTIONARY" in each.encodings]
        small = [each.path_in_schema for each in columns if each.compression == "ZSTD"]
        read = file.read()
    assert split == {"inputs.delay", "score"}
    assert differences == ["time"]
    assert listed == ["request_id", "row", "inputs.carrier"]
    assert small == ["request_id"]
    assert str(read.drop_columns("inputs")) == str(table.drop_columns("inputs"))
    assert str([row["inputs"] for row in read.to_pylist()]) == str(inputs.to_pylist())


def test_what_is_not_there_holds_nothing_and_nothing_is_removed(place):
    assert place.names("v9/2026-11-29T12") == []
    place.remove_before(datetime(2100, 1, 1, tzinfo=UTC))


def test_a_folder_is_of_a_log_before_its_first_segment_and_after_its_last(place, tmp_path):
    assert not place.is_log()
    if place.is_local:
        (tmp_path / "log").mkdir()  # as a server that starts does
        assert place.is_log()
    place.write("v1/2026-11-29T12", "part-1.parquet", TABLE)
    assert place.is_log()
    place.remove_before(datetime(2100, 1, 1, tzinfo=UTC))
    assert place.is_log() == place.is_local  # a store keeps no folder without objects
    place.write("notes", "part-1.parquet", TABLE)
    assert not place.is_log()


def test_a_folder_is_of_a_log_at_every_line_of_a_write_and_of_a_removal(tmp_path):
    (tmp_path / "log").mkdir()
    place, lines = Place(str(tmp_path / "log")), list[str]()

    def traced(frame, event, _):
        name = frame.f_code.co_filename.rpartition("/")[2]
        if name not in ("place.py", "files.py", "shutil.py"):
            return None
        if event == "line":
            sys.settrace(None)
            lines.append(name)
            assert place.is_log(), (name, frame.f_lineno, sorted(tmp_path.rglob("*")))
            sys.settrace(traced)
        return traced

    sys.settrace(traced)
    try:
        place.write("v1/2026-11-29T12", "part-1.parquet", TABLE)
        place.remove_before(datetime(2100, 1, 1, tzinfo=UTC))
        place.write("labels", "labels-1.parquet", TABLE)
    finally:
        sys.settrace(None)
    assert {"place.py", "files.py", "shutil.py"} == {*lines}


def test_a_file_that_cannot_be_written_leaves_no_half_of_it(place, monkeypatch):
    def broken(table, where, **options):
        options.get("filesystem") or where.write_bytes(b"PAR1 half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trunkline.serve.prediction_log.place.pq.write_table", broken)
    with pytest.raises(OSError, match="No space left"):
        place.write("v1/2026-11-29T12", "part-1.parquet", TABLE)
    assert place.names("v1/2026-11-29T12") == []


def test_a_row_is_in_the_folder_of_its_version_and_hour():
    end_of_the_hour = datetime(2026, 11, 29, 14, 59, 59, 999999, tzinfo=UTC).timestamp()
    assert folder("v4", "f" * 64, end_of_the_hour) == "v4/2026-11-29T14"
    assert folder(None, "0123456789abcdef", end_of_the_hour + 1) == "0123456789ab/2026-11-29T15"
