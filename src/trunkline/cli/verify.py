"""`trunkline verify`: whether a bundle is what its manifest says, or a version what its tag says."""

from pathlib import Path

import click

from trunkline.cli import options, output


@click.command(short_help="Check a bundle, or a version's whole chain, offline.")
@click.argument("what", metavar="BUNDLE|VERSION")
@click.option("--chain-only", is_flag=True, help="Of a version: leave out the bundle's bytes, which may not be here.")
@click.option("--again", is_flag=True, help="Of a version: measure and judge it again, from its scores and labels.")
@options.as_json()
@click.pass_context
def verify(context: click.Context, what: str, chain_only: bool, again: bool, as_json: bool) -> None:
    """Check every file of a bundle's folder against its manifest, or a version such as v3; nothing is written or run.

    Of a version: that its tag is a release, the signature one of a signer that conf/deploy declares now, the
    commit the signed one, params.yaml, dvc.lock, the environment's lock and the data's hashes those that were signed,
    the verdict a pass on this bundle, and the bundle's bytes in DVC's cache the announced digest. Nothing is fetched.
    The verdict is the signer's word; with --again, metrics, slices and verdicts are computed again by the version's own
    rules, from what DVC's cache has of its commit, and must be the same.
    Exits with 1 if it is refused, and with 2 if there is no such bundle or version, or the extra `sign`, which verifies
    versions, is not installed.
    """
    from trunkline.conf import versions

    is_version = not Path(what).exists() and bool(versions.Version.of_tag(what) or versions.number(what))
    try:
        facts = _version(what, chain_only, again) if is_version else _bundle(Path(what))
    except _NoError as error:
        output.answer({"reason": str(error), "verified": False}, f"refused: {error}", as_json)
        context.exit(1)
    if as_json:
        output.echo_json(facts | {"verified": True})
        return
    click.echo(f"{what} is what its {'tag' if is_version else 'manifest'} says")
    width = max(map(len, facts))
    for key, value in facts.items():
        click.echo(f"  {key:<{width}}  {value}")


class _NoError(Exception):
    """What is asked about is refused; the message says why."""


def _bundle(path: Path) -> dict[str, object]:
    from trunkline.bundle import manifest

    try:
        verified = manifest.read(path)
    except manifest.BundleError as error:
        raise _NoError(str(error)) from None
    content = verified.manifest
    return {"digest": verified.digest, "files": len(content.files), "name": content.name, "runtime": content.runtime}


def _version(what: str, chain_only: bool, again: bool) -> dict[str, object]:
    from trunkline.conf import versions
    from trunkline.conf.deploy import Deploy
    from trunkline.core.params import Params
    from trunkline.release import verify as release_verify

    params = Params.read()
    version = versions.named(what, params.name)
    try:
        verified = release_verify.chain(Path(), version, params.group(Deploy).signers)
        files = None if chain_only else release_verify.check_bundle(Path(), verified)
        judged = release_verify.judge_again(Path(), verified) if again else None
    except release_verify.RefusedError as error:
        raise _NoError(str(error)) from None
    facts: dict[str, object] = {"digest": verified.digest, "commit": verified.tag.commit, "released": verified.tag.date}
    facts |= {"verdict": verified.gates.verdict, "signed by": verified.signer}
    if verified.run.review:
        facts["pull request"] = str(verified.run.review)
    facts |= {"files": files} if files is not None else {}
    return facts | ({"judged again": judged} if judged is not None else {})
