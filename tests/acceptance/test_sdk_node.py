"""The official Node SDK, unmodified, against the real processes: the scripts of sdk_node/ run on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from core.quotas import set_limits
from models import Account
from tests.api import a_secret
from tests.factories import an_account

pytestmark = pytest.mark.acceptance

SDK = "@chatbotkit/sdk@1.36.0"
SCRIPTS = Path(__file__).parent / "sdk_node"
INSTALL = ["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--loglevel=error", SDK]


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory) -> Path:
    """The scripts beside the SDK, fetched from the registry."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node is not installed")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true}')
    try:
        done = subprocess.run(
            [npm, *INSTALL], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry does not answer")
    if done.returncode:
        pytest.skip(f"the npm registry gave no SDK: {done.stderr.strip().splitlines()[-1:]}")
    return shutil.copytree(SCRIPTS, folder, dirs_exist_ok=True)


@pytest.mark.parametrize("script", sorted(path.stem for path in SCRIPTS.glob("*.mjs") if path.stem != "kit"))
def test_the_script_holds(node_folder, service, script):
    context = service.installation.context
    other = an_account(context, "Eve")
    with context.transaction() as session:
        set_limits(session, session.get_one(Account, other), {"rate_turn": "1/m"})
    told = {"ORIGIN": service.origin, "TOKEN": service.token, "FOREIGN_TOKEN": a_secret(context, other)}
    done = subprocess.run(
        ["node", f"{script}.mjs"],
        cwd=node_folder,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
