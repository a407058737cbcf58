"""A real Ray cluster of two machines, one of which is killed while it computes: the bytes are those of one process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.features.executors.losing import assert_same_bytes, assert_same_measures, refuse
from trunkline.conf.engine import Engine
from trunkline.core.errors import OutsideError, UserError
from trunkline.pipeline.features.executors.executor import connect

pytest.importorskip("ray", reason="needs the extra `ray`: locks/install dev")
pytestmark = pytest.mark.filterwarnings("default")  # Ray's own

MEMORY = 4 * 10**9


@contextmanager
def two_machines() -> Iterator[Any]:
    """Ray's head and two machines with a processor each, as processes of this one."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, memory=MEMORY, object_store_memory=80 * 10**6)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def test_a_machine_that_is_killed_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    with two_machines() as cluster, connect(Engine(executor="ray", address=cluster.address)) as executor:

        def kill(_: Path) -> None:
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

        assert_same_bytes(executor, kill, tmp_path)
        cluster.add_node(num_cpus=1, memory=MEMORY, object_store_memory=80 * 10**6)
        cluster.wait_for_nodes()
        assert_same_measures(executor, kill, tmp_path / "monitored")
        with pytest.raises(UserError, match=r"^a mistake of the user$"):
            list(executor.run([partial(refuse, "a mistake of the user")]))


def test_an_address_where_no_ray_is_is_named() -> None:
    before = dict(os.environ)
    with pytest.raises(OutsideError, match=r"^engine\.address: no Ray at 127\.0\.0\.1:1 "):
        connect(Engine(executor="ray", address="127.0.0.1:1")).__enter__()
    assert os.environ == before, "what Ray writes there is taken back"
