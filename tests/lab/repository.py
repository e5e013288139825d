"""A package source in a directory of a lab's host, for what its roles are to install: lab hosts have no network."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from .conftest import Lab, as_root

__all__ = ["provide"]

DIRECTORY = "/srv/packages"
SETTINGS = f"""\
rm -rf {DIRECTORY} && mkdir -p {DIRECTORY} && tar -x -C {DIRECTORY} &&
echo 'Dir::Etc::sourcelist "/dev/null";' > /etc/apt/apt.conf.d/00local &&
echo 'deb [trusted=yes] file:{DIRECTORY} ./' > /etc/apt/sources.list.d/local.list &&
apt-get -qq update
"""


def provide(lab: Lab, host: str, *packages: str) -> None:
    """Have apt on a host find packages that it lacks, with all that they need."""
    status = lab.state_dir / "hosts" / host / "root" / "var/lib/dpkg/status"
    directory = lab.directory / "packages" / f"{host}-{packages[0]}"
    directory.mkdir(parents=True)
    directory.chmod(0o777)  # apt downloads as a user of its own
    options = ["-o", f"Dir::State::status={status}", "--no-install-recommends", "--simulate"]
    listed = as_root("apt-get", *options, "install", *packages)
    wanted = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", listed, re.MULTILINE)
    assert wanted, f"nothing to download for {packages}: {listed}"
    named = [f"{name}={version}" for name, version in wanted]
    subprocess.run(["apt-get", "-qq", "download", *named], cwd=directory, check=True)
    (directory / "Packages").write_text("\n".join(entry(path) for path in sorted(directory.glob("*.deb"))))
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(directory, arcname=".")
    command = ["ssh", "-F", str(lab.user_dir / "ssh_config"), host, SETTINGS]
    subprocess.run(command, input=buffer.getvalue(), check=True)


def entry(path: Path) -> str:
    """A package in the index."""
    fields = subprocess.run(["dpkg-deb", "--field", str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{fields}Filename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\n"
