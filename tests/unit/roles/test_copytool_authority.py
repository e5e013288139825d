"""The authority on the control machine: what it issues, when it issues again, and what becomes of its own end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from support.authority import authority as role
from support.loading import ROLES

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def authority(directory: Path, now: datetime = NOW, days: int = 397) -> Any:
    """An authority that is there."""
    made = role.Authority(directory, days, now)
    made.renew()
    return made


def certificate_in(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def test_what_it_keeps_is_secret(tmp_path: Path) -> None:
    """Directory and key are the owner's alone, whatever the umask."""
    old = os.umask(0)
    try:
        authority(tmp_path / "ca").issue("online", "client", [])
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "ca").iterdir()}
    assert modes == {"ca.key": 0o600, "ca.pem": 0o644, ".lock": 0o600}
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700


def test_what_it_issues_will_do(tmp_path: Path) -> None:
    """Until it is about to end; a host that got another name, address or daemon needs another one."""
    ca = authority(tmp_path)
    pem = ca.issue("assistant", "server", ["192.168.50.102", "fd50::102", "assistant.example"])
    wanted = ("assistant", "server", ["192.168.50.102"])
    assert ca.objection(pem, *wanted, 60) == ""
    assert ca.objection("", *wanted, 60) == "there is none"
    assert ca.objection("x", *wanted, 60) == "it is no certificate for this"
    assert ca.objection(pem, "online", "server", [], 60) == "it is not made out to online"
    assert ca.objection(pem, "assistant", "client", [], 60) == "it is not for a client"
    assert ca.objection(pem, "assistant", "server", ["10.0.0.1"], 60) == "it lacks 10.0.0.1"
    for days, objection in (
        (336, ""),
        (338, "it is valid for only 59 days more"),
        (400, "it is valid for only -3 days more"),
    ):
        later = role.Authority(tmp_path, 397, NOW + days * DAY)
        assert later.objection(pem, *wanted, 60) == objection


def test_it_is_made_once(tmp_path: Path) -> None:
    """By the first of several hosts that are set up side by side; the others find it."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: authority(tmp_path / "ca").bundle, range(8)))
    assert len(set(made)) == 1


def test_it_is_replaced_before_what_it_issues_would_outlast_it(tmp_path: Path) -> None:
    """The old one stays trusted until its end, so that hosts which have not had their turn yet can connect."""
    old = authority(tmp_path)
    pem = old.issue("online", "client", [])
    assert authority(tmp_path, NOW + 3000 * DAY).bundle == old.bundle
    late = authority(tmp_path, NOW + 3300 * DAY)
    assert late.bundle != old.bundle and late.bundle.endswith(old.bundle)
    assert late.objection(pem, "online", "client", [], -3000) == ""
    assert authority(tmp_path / "other").objection(pem, "online", "client", [], 60) == "it is from another authority"
    issued = certificate_in(late.issue("online", "client", []))
    issued.verify_directly_issued_by(late.certificates[0])
    assert issued.not_valid_after_utc < late.certificates[0].not_valid_after_utc
    after = authority(tmp_path, NOW + 3651 * DAY)
    assert old.bundle not in after.bundle


def test_clocks_may_differ(tmp_path: Path) -> None:
    """A host whose clock is half an hour behind can use what is issued now."""
    ca = authority(tmp_path)
    assert certificate_in(ca.issue("online", "client", [])).not_valid_before_utc < NOW - timedelta(minutes=30)


@pytest.mark.parametrize("check", [True, False])
def test_module(tmp_path: Path, check: bool) -> None:
    """Check mode says what would be issued, and leaves nothing behind."""
    directory = tmp_path / "ca"
    given: dict[str, Any] = {"authority_dir": str(directory), "name": "online", "usage": "client"}
    first = _run(given, check)
    assert (first["changed"], first["reason"], bool(first["pem"])) == (True, "there is none", not check)
    assert directory.exists() is not check
    if not check:
        again = _run({**given, "current": first["pem"]}, check)
        assert (again["changed"], again["reason"], again["pem"]) == (False, "", "")
        assert again["authority"] == first["authority"]


def test_module_says_what_is_in_the_way(tmp_path: Path) -> None:
    """A damaged authority is no reason to make another one: hosts trust it."""
    authority(tmp_path)
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    failed = _run({"authority_dir": str(tmp_path), "name": "online", "usage": "client"}, False)
    assert failed["failed"] and str(tmp_path) in failed["msg"]


def _run(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Run the module as Ansible would."""
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**given, "_ansible_check_mode": check}})
    program = (
        "import sys, runpy, importlib.util, ansible.module_utils.basic\n"
        f"spec = importlib.util.spec_from_file_location('ansible.module_utils.copytool_authority', {_UTILS!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules[spec.name] = module\n"
        "spec.loader.exec_module(module)\n"
        "ansible.module_utils.basic._ANSIBLE_PROFILE = 'legacy'\n"
        f"runpy.run_path({_MODULE!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=arguments, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


_UTILS = str(ROLES / "copytool/module_utils/copytool_authority.py")
_MODULE = str(ROLES / "copytool/library/copytool_certificate.py")
