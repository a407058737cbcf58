"""The docs as a site: it builds, and every link of every page leads to a file and an anchor of it."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_the_site_builds_and_its_links_lead_somewhere(root: Path) -> None:
    done = subprocess.run(["make", "site"], cwd=root, capture_output=True, text=True, check=False)
    if not (root / ".venv/site/bin/zensical").exists():
        pytest.skip(f"zensical cannot be installed here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr

    pages = {path: path.read_text(encoding="utf-8") for path in (root / "site").rglob("*.html")}
    assert {"index.html", "day.html", "conf.html"} <= {path.name for path in pages}
    broken = []
    for path, text in pages.items():
        if path.name == "404.html":  # is served for any path, so its links begin with /
            continue
        for target, anchor in re.findall(r'<a [^>]*href="?([^":#> ]*)(?:#([^"> ]*))?["> ]', text):
            page = (path.parent / unquote(target)).resolve() if target else path
            known = page.exists() and (not anchor or f'id="{unquote(anchor)}"' in pages.get(page, ""))
            if not known:
                broken.append(f"{path.relative_to(root)}: {target}#{anchor}")
    assert broken == []
