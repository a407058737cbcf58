"""Where the model that answers comes from: the bundle of a folder, or what is delivered to an environment."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trunkline.conf.serving import Limits, Online, Serving
from trunkline.serve import model
from trunkline.serve.online.store.open import open_store
from trunkline.serve.online.store.protocol import Store
from trunkline.serve.swap import Follower, Slot

Load = Callable[[Path, model.Pointer | None], model.Model]


@dataclass(frozen=True)
class Delivery:
    """An environment of a store, and what raises TrunklineError for a pointer that is not to be believed.

    `only` is the one version of it that is served, such as v5, where something in front splits requests.
    """

    environment: str
    check: Callable[[model.Pointer], object]
    only: str | None = None


@dataclass(frozen=True)
class Source:
    """What is served: the bundle of a folder, or what is delivered to an environment of a store."""

    folder: Path
    delivery: Delivery | None = None
    tolerance: float = 1e-9  # of the golden rows' scores
    personal: frozenset[str] = frozenset()  # columns that the log leaves out, if it is declared nothing else of them

    @property
    def environment(self) -> str | None:
        """The environment that is served, if it is one."""
        return self.delivery.environment if self.delivery else None

    def loader(self, serving: Serving) -> Load:
        """Return what makes a bundle ready to answer, with the store of its online features, if one is declared."""
        online = serving.online  # each process opens the store for itself
        joined = (online, open_store(online.store, os.environ)) if online else None
        return partial(_load, serving.limits, self.tolerance, joined)

    def fill(self, slot: Slot, load: Load, loaded: model.Model | None = None) -> Follower | None:
        """Put what is served into a slot; return what follows the environment from now on, if it is one.

        Raises UserError as `model.load` does, for the bundle of a folder.
        """
        if self.delivery is None:
            slot.put(loaded or load(self.folder, None))
            return None
        delivery = self.delivery
        follower = Follower(slot, self.folder, delivery.environment, delivery.check, load, delivery.only)
        follower.start()
        return follower


def _load(
    limits: Limits, tolerance: float, online: tuple[Online, Store] | None, folder: Path, pointer: model.Pointer | None
) -> model.Model:
    return model.load(folder, limits, tolerance, pointer, online)
