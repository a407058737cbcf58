"""Plans, applied to a model of the world: they converge from anywhere, also after a kill."""

import dataclasses
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf.versions import Version
from trunkline.deploy.mlflow.state import COMMIT, DIGEST, VERDICT, VERSION, MlflowVersion, Registered, Release
from trunkline.deploy.reconcile import actions as reconcile_actions
from trunkline.deploy.reconcile import plan as reconcile_plan
from trunkline.deploy.reconcile.actions import Alias, Deliver, Fetch, Note, Register, Render, Tag, Unalias, Withdraw
from trunkline.deploy.reconcile.state import NOTHING, Actual, LoadedNothing, Reported, Tried, Trouble, Wanted

NAMES = ("production", "shadow", "staging")
RELEASES = [
    Release(Version("m", number), f"digest{number}", f"commit{number}", "pass", provenance=f"signed{number}")
    for number in (1, 2, 3)
]
ALIASES = (*NAMES, "champion", "theirs")


def pointing(release, tried=None):
    return Reported.of(release, tried)


def tried(kind, release, share, refused):
    whether = {"trouble": Trouble("not signed", 1)} if refused else {"release": release}
    return Tried(kind, release.version, share, ("origin",), **whether)


@dataclass
class World:
    """What reconcile changes, without what it is made of."""

    entries: list[dict]
    aliases: dict
    bundles: set
    pointers: dict
    noted: dict
    manifests: dict = field(default_factory=dict)

    def __post_init__(self):
        self.entries = [dict(tags) for tags in self.entries]
        self.manifests = {name: dict(texts) for name, texts in self.manifests.items()}
        # MLflow deletes an alias with its version, and gives no number twice.
        self.aliases = {alias: number for alias, number in self.aliases.items() if int(number) <= len(self.entries)}
        self.bundles = set(self.bundles)
        self.pointers, self.noted = dict(self.pointers), dict(self.noted)

    def actual(self):
        entries = tuple(MlflowVersion(str(place), dict(tags)) for place, tags in enumerate(self.entries, 1))
        known = {name: dict(texts) for name, texts in self.manifests.items()}
        return Actual(Registered(entries, dict(self.aliases)), frozenset(self.bundles), dict(self.pointers),
                      dict(self.noted), known)  # fmt: skip

    def number(self, release):
        return self.actual().registered.find(release.version.label, release.digest).number

    def apply(self, action):
        self.in_mlflow(action) if isinstance(action, reconcile_actions.IN_MLFLOW) else self.in_store(action)

    def in_mlflow(self, action):
        match action:
            case Register(_, release):
                assert release.digest in self.bundles, "registered without its bundle"
                self.entries.append(dict(release.tags))
            case Tag(_, number, key, value):
                self.entries[int(number) - 1][key] = value
            case Alias(_, alias, release):
                self.aliases[alias] = self.number(release)
            case Unalias(_, alias):
                del self.aliases[alias]
            case Note(name, None):
                del self.noted[name]
            case Note(name, label):
                self.noted[name] = label

    def in_store(self, action):
        match action:
            case Fetch(_, release):
                self.bundles.add(release.digest)
            case Deliver(name, release, candidate):
                needed = {release.digest} | ({candidate.release.digest} if candidate else set())
                assert needed <= self.bundles, "delivered without its bundle"
                self.pointers[name] = pointing(release, candidate)
            case Withdraw(name):
                del self.pointers[name]
            case Render(name, file, text):
                self.manifests.setdefault(name, {}).pop(file, None)
                if text is not None:
                    self.manifests[name][file] = text


def tags(draw_release, wrong):
    return draw_release.tags | wrong


releases = st.sampled_from(RELEASES)
entries = st.one_of(
    st.just({}),
    st.builds(tags, releases, st.dictionaries(st.sampled_from([VERSION, DIGEST, COMMIT, VERDICT]), st.just("wrong"))),
)
candidates = st.builds(
    tried, st.sampled_from(["shadow", "canary"]), releases, st.sampled_from([5.0, 25.0]), st.booleans()
)
pointers = st.builds(pointing, releases, st.none() | candidates)
worlds = st.builds(
    World,
    entries=st.lists(entries, max_size=4),
    aliases=st.dictionaries(st.sampled_from(ALIASES), st.sampled_from("12345")),
    bundles=st.sets(st.sampled_from([one.digest for one in RELEASES])),
    pointers=st.dictionaries(st.sampled_from(NAMES), pointers),
    noted=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["v1", "v2", "v3", NOTHING])),
    manifests=st.dictionaries(st.sampled_from(NAMES), st.just({"a.yaml": "old"})),
)


def environment(name, release, text, trouble, candidate):
    if trouble:
        return Wanted(name, "v9", Version("m", 9), trouble=Trouble("refused", 1))
    if release is None:
        return Wanted(name, NOTHING)
    manifests = {"a.yaml": text}
    return Wanted(name, release.version.label, release.version, release, candidate=candidate, manifests=manifests)


desires = st.tuples(
    *(
        st.builds(
            environment,
            st.just(name),
            st.none() | releases,
            st.sampled_from(["old", "new"]),
            st.booleans(),
            st.none() | candidates,
        )
        for name in NAMES
    )
)


def plan(wanted, world, correct=True):
    return reconcile_plan.plan(wanted, world.actual(), correct=correct)


def brought(wanted, world, correct=True, steps=None):
    for action in plan(wanted, world, correct).actions[:steps]:
        world.apply(action)
    return world


def is_right(wanted, world, correct):
    for one in wanted:
        if one.trouble:
            continue
        pointer = world.pointers.get(one.environment)
        assert pointer == (pointing(one.release, one.candidate) if one.release else None)
        assert world.manifests.get(one.environment, {}) == one.manifests
        if not correct:
            continue
        for alias in (one.environment, "champion") if one.environment == "production" else (one.environment,):
            number = int(world.aliases.get(alias, 0))
            found = world.entries[number - 1] if 0 < number <= len(world.entries) else {}
            if one.release:
                assert found == one.release.tags
            else:
                assert VERSION not in found, "an alias on somebody else's version is theirs"


@given(desires, worlds, st.booleans())
def test_a_plan_that_is_applied_leaves_nothing_to_do(wanted, world, correct):
    told = plan(wanted, world, correct).drifts
    brought(wanted, world, correct)
    is_right(wanted, world, correct)
    left = plan(wanted, world, correct)
    assert left.actions == ()
    assert set(left.drifts) == set(told), "what is only told stays, and nothing is added"
    assert correct is False or left.drifts == {}


@given(desires, worlds, st.booleans(), st.lists(st.integers(0, 12), max_size=3))
def test_a_kill_anywhere_is_no_harm(wanted, world, correct, kills):
    told = plan(wanted, world, correct).drifts
    for steps in kills:
        brought(wanted, world, correct, steps)
        assert set(plan(wanted, world, correct).drifts) == set(told), "half a promotion was taken for a change by hand"
    brought(wanted, world, correct)
    is_right(wanted, world, correct)


@given(desires, desires, worlds, st.integers(0, 12))
def test_another_declaration_after_a_kill_is_applied(first, second, world, steps):
    brought(first, world)
    brought(second, world, correct=False, steps=steps)
    brought(first, world, correct=False)
    is_right(first, world, correct=True)
    assert plan(first, world, correct=False) == reconcile_plan.ReconcilePlan((), {})


@given(desires, worlds)
def test_trouble_of_one_environment_is_that_of_no_other(wanted, world):
    for broken in NAMES:
        there = dataclasses.replace(world)
        before = there.pointers.get(broken), there.manifests.get(broken), there.aliases.get(broken)
        changed = [
            dataclasses.replace(one, release=None, trouble=Trouble("moved", 1)) if one.environment == broken else one
            for one in wanted
        ]
        brought(changed, there)
        is_right(changed, there, correct=True)
        assert (there.pointers.get(broken), there.manifests.get(broken), there.aliases.get(broken)) == before


def one(**more):
    return Wanted("production", "v1", Version("m", 1), RELEASES[0], endpoints=("http://a", "http://b"), **more)


def told(wanted, actual, failed=None, applied=True, correct=True):
    planned = reconcile_plan.plan([wanted], actual, correct=correct)
    found = reconcile_plan.outcome(wanted, actual, planned, failed or {}, applied=applied)
    return found.state, found.code, found.why


def right(**replaced):
    entry = MlflowVersion("1", RELEASES[0].tags)
    known = {
        "registered": Registered((entry,), {"production": "1", "champion": "1"}),
        "bundles": frozenset({"digest1"}),
        "pointers": {"production": pointing(RELEASES[0])},
        "noted": {"production": "v1"},
        "endpoints": dict.fromkeys(("http://a", "http://b"), Reported("m", "v1", "digest1")),
    }
    return Actual(**known | replaced)


def test_states_reasons_and_codes():
    assert told(one(), right()) == ("in-sync", 0, ())
    late = right().endpoints | {"http://b": Reported("m", "v0", "other")}
    assert told(one(), right(endpoints=late)) == ("progressing", 1, ("http://b still serves v0 (other)",))
    silent = right().endpoints | {"http://a": Trouble("no answer", 3)}
    assert told(one(), right(endpoints=silent)) == ("degraded", 3, ("no answer",))
    loading = right().endpoints | {"http://a": LoadedNothing("answers 404", 3)}
    assert told(one(), right(endpoints=loading)) == ("degraded", 3, ("answers 404",))
    assert told(one(), right(endpoints=loading, recent=frozenset({"staging"})))[0] == "degraded"
    just = frozenset({"production"})
    why = "answers 404, and may still be loading"
    assert told(one(), right(endpoints=loading, recent=just)) == ("progressing", 1, (why,))
    assert told(one(), right(endpoints=silent, recent=just)) == ("degraded", 3, ("no answer",))
    both = loading | silent | {"http://b": loading["http://a"]}
    assert told(one(), right(endpoints=both, recent=just)) == ("degraded", 3, ("no answer",))
    assert told(one(), right(registered=Trouble("MLflow is down", 3))) == ("degraded", 3, ("MLflow is down",))
    assert told(one(trouble=Trouble("was moved", 1)), right()) == ("degraded", 1, ("was moved",))
    assert told(one(), right(), {"production": Trouble("disk full", 3)}) == ("degraded", 3, ("disk full",))
    moved = Registered(right().registered.entries, {"production": "1"})
    would = "point the alias champion of MLflow at m@v1"
    assert told(one(), right(registered=moved), applied=False) == ("progressing", 1, (f"would {would}",))
    why = f"changed by hand in MLflow; not undone: {would}"
    assert told(one(), right(registered=moved), correct=False) == ("degraded", 1, (why,))


def test_a_pointer_that_was_changed_is_delivered_again():
    pointer = right().pointers["production"]
    for changed in (
        replace(pointer, provenance=""),  # as an older version of Trunkline has written it
        replace(pointer, provenance="signed2"),
        replace(pointer, commit="commit2"),
    ):
        planned = reconcile_plan.plan([one()], right(pointers={"production": changed}), correct=True)
        assert planned.actions == (Deliver("production", RELEASES[0]),)


def test_production_comes_first_and_what_two_share_is_done_once():
    both = [Wanted(name, "v1", Version("m", 1), RELEASES[0]) for name in ("alpha", "production")]
    actions = reconcile_plan.plan(both, Actual(Registered()), correct=True).actions
    assert [type(action).__name__ for action in actions] == (
        ["Fetch", "Register", "Alias", "Alias", "Note", "Deliver", "Alias", "Note", "Deliver"]
    )
    assert [action.environment for action in actions] == ["production"] * 6 + ["alpha"] * 3


def test_an_alias_on_somebody_elses_version_is_theirs():
    theirs = Registered(
        (MlflowVersion("1", {"team": "b"}), MlflowVersion("2", RELEASES[0].tags)), {"production": "1", "champion": "2"}
    )
    none = Wanted("production", NOTHING)
    found = reconcile_plan.plan([none], Actual(theirs, noted={"production": "v1"}), correct=True).actions
    assert found == (Note("production", None), Unalias("production", "champion"), Note("production", NOTHING))


def test_a_version_does_not_wait_for_the_bundle_of_its_candidate():
    candidate = tried("shadow", RELEASES[1], 100.0, refused=False)
    target = one(candidate=candidate)
    planned = reconcile_plan.plan([target], right(pointers={}), correct=True)
    assert planned.actions == (
        Deliver("production", RELEASES[0]),
        Fetch("production", RELEASES[1]),
        Deliver("production", RELEASES[0], candidate),
    )
    assert str(planned.actions[-1]) == "deliver m@v1 to production, with m@v2 as its shadow"
    planned = reconcile_plan.plan([target], right(), correct=True)
    assert planned.actions == (Fetch("production", RELEASES[1]), Deliver("production", RELEASES[0], candidate))


def test_a_candidate_that_may_not_run_is_trouble_and_the_version_runs():
    target = one(candidate=tried("canary", RELEASES[1], 5.0, refused=True))
    assert told(target, right()) == ("degraded", 1, ("not signed",))
    assert reconcile_plan.plan([target], right(), correct=True).actions == ()
