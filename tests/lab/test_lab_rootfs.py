"""The root file system's build, killed half-way. Needs the package mirror, as the lab's first run does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY, as_root, kill_tree, wait_until

pytestmark = pytest.mark.lab


class Cache:
    """A cache of root file systems of its own, with a small one to build."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def start(self, state: str) -> subprocess.Popen[str]:
        """Run the module."""
        program = str(Path(sys.executable).with_name("ansible"))
        arguments = f"cache_dir={self.directory} packages=openssh-server state={state}"
        role = REPOSITORY / "roles/lab"
        paths = {"ANSIBLE_LIBRARY": str(role / "library"), "ANSIBLE_MODULE_UTILS": str(role / "module_utils")}
        return subprocess.Popen(
            [program, "localhost", "--become", "-m", "copytool_lab_rootfs", "-a", arguments],
            cwd=REPOSITORY,
            env={**os.environ, **paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, state: str) -> str:
        """Run the module to its end; its output."""
        process = self.start(state)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def content(self, pattern: str) -> list[str]:
        """What is in the cache."""
        return [path.name for path in self.directory.glob(pattern)]

    def processes(self) -> list[str]:
        """Processes of builds."""
        tag = f"COPYTOOL_LAB_OWNER={self.directory}"
        return as_root("sh", "-c", 'grep -lzs "^$1" /proc/[0-9]*/environ', "sh", tag, check=False).split()

    def start_and_kill(self, *, whole_tree: bool) -> None:
        """Begin a build and kill -9 it, or only Ansible so that the build goes on alone, once it has files."""
        process = self.start("present")
        wait_until(lambda: self.content("*.partial/usr/bin/*"), "the build has files")
        kill_tree(process.pid) if whole_tree else process.kill()
        process.wait()


def test_a_killed_build_is_done_again(tmp_path: Path) -> None:
    """What kill -9 left is thrown away; the next build is whole, and is not done twice."""
    cache = Cache(tmp_path / "cache")
    cache.start_and_kill(whole_tree=True)
    assert cache.content("rootfs-*") == cache.content("*.partial")
    assert "CHANGED" in cache.run("present")
    assert cache.content("*.partial") == []
    assert cache.content("rootfs-*/usr/sbin/sshd") == ["sshd"]
    assert "SUCCESS" in cache.run("present")
    assert "CHANGED" in cache.run("absent")
    assert not cache.directory.exists()


def test_a_build_without_its_parent_is_removed(tmp_path: Path) -> None:
    """Teardown ends a build that outlived the Ansible run that began it."""
    cache = Cache(tmp_path / "cache")
    cache.start_and_kill(whole_tree=False)
    cache.run("absent")
    assert not cache.directory.exists()
    assert cache.processes() == []
