"""The mirrors that are compared: where their programs are, and how to start them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.netns.hosts import ROOT, Host, output
from tests.support.authority import TestAuthority

from .errors import BenchError
from .world import ASSISTANT, ONLINE, PORT, TARGET, World, wait_for

__all__ = ["TOOLS", "Running", "Tool"]

LINK_PORT = 36524
READY_S = 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """The process ids of a mirror's daemons. copy: of a copy that does not run on online."""

    online: list[int] = field(default_factory=list)
    assistant: list[int] = field(default_factory=list)
    copy: list[int] = field(default_factory=list)


class Tool(ABC):
    """One way to mirror."""

    name: str
    title: str
    only_http = False
    is_daemon = True
    is_fed = False
    """Whether its copy runs on the assistant. Such a tool takes part only where it is named."""

    @abstractmethod
    def absent(self) -> str:
        """Return why it cannot be run here; empty if it can."""

    def version(self) -> str:
        """Return what it says that it is; empty if it says nothing."""
        return ""

    @abstractmethod
    def start(self, world: World, *copy_options: object) -> Running:
        """Start its daemons in the world and wait until they mirror; BenchError if they do not.

        copy_options: further options for `copytool copy`; other tools do without.
        """


class Nothing(Tool):
    """No mirror: what the service does by itself."""

    name, title, is_daemon = "none", "no mirror", False

    def absent(self) -> str:
        return ""

    def start(self, world: World, *copy_options: object) -> Running:
        return Running()


class Copytool(Tool):
    """copytool, as one of the flavours that scripts/flavour installs."""

    def __init__(self, flavour: str) -> None:
        self.name, self.title = flavour, f"copytool, {flavour}"
        self._flavour = flavour
        self._directory: str | None = None

    def absent(self) -> str:
        if (ROOT / "scripts/flavour").exists() or self._flavour == "pure":
            return ""
        return "this source tree has no scripts/flavour to compile it with"

    def version(self) -> str:
        done = subprocess.run(self._words("--version"), capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def start(self, world: World, *copy_options: object) -> Running:
        online = world.online
        intercept = self._start_intercept(world.assistant, "--plain")
        control = ("--control-socket", online.control_socket)
        mapping = ("-x", f"{PORT}-{TARGET}:{PORT}", "-s", ASSISTANT, "-c", "192.168.60.x")
        copy = online.start(*self._words("copy", "--plain", *mapping, *control, *copy_options))
        _wait_link(online, copy, self.title)
        return Running([copy.pid], [intercept.pid])

    def _start_intercept(self, assistant: Host, *link_options: object) -> subprocess.Popen[str]:
        words = ("-i", "ens18", "-F", f"tcp and src port {PORT}", "--control-socket", assistant.control_socket)
        intercept = assistant.start(*self._words("intercept", *link_options, *words))
        _wait_listening(assistant, intercept, self.title)
        return intercept

    def _words(self, *words: object) -> list[str]:
        if self._directory is None:
            self._directory = self._install()
        environment = ["PYTHONSAFEPATH=1", f"PYTHONPATH={self._directory}"]
        return ["env", *environment, sys.executable, "-m", "copytool", *map(str, words)]

    def _install(self) -> str:
        script = ROOT / "scripts/flavour"
        if not script.exists():
            return str(ROOT)
        done = subprocess.run([script, self._flavour], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise BenchError(f"scripts/flavour {self._flavour} failed with status {done.returncode}, see above")
        return done.stdout.strip().splitlines()[-1]


class Forward(Copytool):
    """`copytool forward` on online, and the copy that it feeds beside intercept on the assistant."""

    is_fed = True

    def __init__(self, name: str, flavour: str, is_encrypted: bool = False) -> None:
        super().__init__(flavour)
        self.name, self.title = name, f"forward, {flavour}{', TLS' if is_encrypted else ''}"
        self._is_encrypted = is_encrypted

    def start(self, world: World, *copy_options: object) -> Running:
        """Start the daemons; copy_options are those of the capture, which is forward's here."""
        online, copy_host = world.online, world.network.copy_on_assistant()
        links = self._links(world)
        intercept = self._start_intercept(world.assistant, *links["intercept"])
        mapping = ("-x", f"{ONLINE}:{PORT}-{TARGET}:{PORT}", "-s", "127.0.0.1", "-c", "192.168.60.x")
        control = ("--control-socket", copy_host.control_socket)
        copy = copy_host.start(*self._words("copy", "--feed", "forward", *links["copy"], *mapping, *control))
        _wait_link(copy_host, copy, self.title)
        words = ("-x", PORT, "-s", ASSISTANT, "--control-socket", online.control_socket)
        forward = online.start(*self._words("forward", *links["forward"], *words, *copy_options))
        _wait(forward, f"{self.title} is connected to its copy", lambda: _is_linked(online))
        return Running([forward.pid], [intercept.pid], [copy.pid])

    def _links(self, world: World) -> dict[str, tuple[object, ...]]:
        """Return each daemon's options for its links."""
        if not self._is_encrypted:
            return dict.fromkeys(("intercept", "copy", "forward"), ("--plain",))
        authority = TestAuthority(world.scratch / "authority")
        usages = {"intercept": ("server", "127.0.0.1"), "copy": ("both", ASSISTANT), "forward": ("client", ONLINE)}
        files = {name: authority.issue(name, usage, [address]) for name, (usage, address) in usages.items()}
        return {
            name: ("--tls-cert", issued.certificate, "--tls-ca", issued.authority) for name, issued in files.items()
        }


class Tcpcopy(Tool):
    """tcpcopy with its intercept, from the directories in TCPCOPY_DIR and INTERCEPT_DIR."""

    name, title = "tcpcopy", "tcpcopy"

    def absent(self) -> str:
        for variable, program in (("TCPCOPY_DIR", "tcpcopy"), ("INTERCEPT_DIR", "intercept")):
            if not os.environ.get(variable):
                return f"{variable} is not set: it names the directory or install prefix of {program}"
            if not find_program(variable, program):
                return f"{variable}={os.environ[variable]}: no program {program} there, in sbin, objs or bin"
        return ""

    def version(self) -> str:
        done = subprocess.run([_program("TCPCOPY_DIR", "tcpcopy"), "-v"], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip().splitlines()[0]

    def start(self, world: World, *copy_options: object) -> Running:
        assistant, online = world.assistant, world.online
        words = ["-i", "ens18", "-F", f"tcp and src port {PORT}", "-l", assistant.scratch / "intercept.log"]
        intercept = assistant.start(_program("INTERCEPT_DIR", "intercept"), *words)
        _wait_listening(assistant, intercept, "intercept")
        words = ["-x", f"{PORT}-{TARGET}:{PORT}", "-s", ASSISTANT, "-c", "192.168.60.x"]
        words += ["-l", online.scratch / "tcpcopy.log"]
        copy = online.start(_program("TCPCOPY_DIR", "tcpcopy"), *words)
        _wait_link(online, copy, self.title)
        return Running([copy.pid], [intercept.pid])


class Goreplay(Tool):
    """goreplay, from the program in GOREPLAY; it mirrors HTTP requests over connections of its own."""

    name, title, only_http = "goreplay", "goreplay", True

    def absent(self) -> str:
        program = os.environ.get("GOREPLAY")
        if not program:
            return "GOREPLAY is not set: it names the program"
        return "" if shutil.which(program) else f"GOREPLAY={program}: no program there"

    def start(self, world: World, *copy_options: object) -> Running:
        words = ["--input-raw", f":{PORT}", "--output-http", f"http://{TARGET}:{PORT}"]
        gor = world.online.start(shutil.which(os.environ["GOREPLAY"]), *words)
        capturing = ["ss", "-Hp0"]
        if not wait_for(lambda: f"pid={gor.pid}," in world.online.run(*capturing).stdout, READY_S, 0.1):
            raise BenchError(f"goreplay does not capture after {READY_S:g} s: {output(gor)[-500:]}")
        return Running([gor.pid])


class KernelMirror(Tool):
    """No daemon: nftables rules duplicate each packet to the service, rewrite its addresses and send it to the target.

    Nothing answers to what the target says, so no request is mirrored. It is the least that a packet can cost.
    """

    name, title, is_daemon = "kernel", "nftables alone", False

    def absent(self) -> str:
        return "" if shutil.which("nft") else "no program nft: apt install nftables"

    def start(self, world: World, *copy_options: object) -> Running:
        show = ("cat", "/sys/class/net/ens18/address")
        own_mac, target_mac = (host.run(*show).stdout.strip() for host in (world.online, world.target))
        world.online.run("nft", kernel_mirror_rules(own_mac, target_mac))
        # What arrives must not be answered: its connections do not exist there.
        rule = "ip saddr 192.168.60.0/24 counter drop;"
        world.target.run(
            "nft", f"table ip bench {{ chain in {{ type filter hook prerouting priority raw; {rule} }}; }}"
        )
        return Running()


def kernel_mirror_rules(own_mac: str, target_mac: str) -> str:
    """Return the rules for online's interface ens18.

    The duplicate leaves through the interface it came in by, with online's own address as its destination, as nothing
    else does that leaves there.
    """
    hook = "device ens18 priority 0"
    duplicate = f'ip protocol tcp tcp dport {PORT} dup to "ens18"'
    addresses = f"ip saddr set 192.168.60.1 ip daddr set {TARGET}"
    rewrite = f"ip daddr {ONLINE} tcp dport {PORT} ether saddr set {own_mac} ether daddr set {target_mac} {addresses}"
    return f"""table netdev bench {{
        chain in {{ type filter hook ingress {hook}; {duplicate}; }}
        chain out {{ type filter hook egress {hook}; {rewrite}; }}
    }}"""


def find_program(variable: str, program: str) -> str:
    """Return the program's path below the directory that an environment variable names; empty if it is not there."""
    base = Path(os.environ[variable])
    for place in (base, base / "sbin", base / "objs", base / "bin"):
        if os.access(place / program, os.X_OK) and (place / program).is_file():
            return str((place / program).resolve())
    return ""


def _program(variable: str, program: str) -> str:
    found = find_program(variable, program)
    if not found:
        raise BenchError(f"{variable}={os.environ[variable]}: no program {program} there, in sbin, objs or bin")
    return found


def _is_linked(online: Host) -> bool:
    """Return whether forward's link is established: before, it drops what it captures."""
    status = online.status()
    return bool(status) and status["link"][0]["state"] == "established"


def _wait_listening(host: Host, child: subprocess.Popen[str], title: str) -> None:
    listening = ("ss", "-H", "-ltn", f"sport = {LINK_PORT}")
    _wait(child, f"{title} listens on port {LINK_PORT}", lambda: host.run(*listening).stdout)


def _wait_link(host: Host, child: subprocess.Popen[str], title: str) -> None:
    linked = ("ss", "-H", "-tn", "state", "established", f"dport = {LINK_PORT}")
    _wait(child, f"{title} is connected to its intercept", lambda: host.run(*linked).stdout)


def _wait(child: subprocess.Popen[str], what: str, condition: Callable[[], object]) -> None:
    seen = wait_for(lambda: child.poll() is not None or condition(), READY_S, 0.05)
    if child.poll() is not None or not seen:
        state = f"it ended with status {child.returncode}" if child.poll() is not None else f"not within {READY_S:g} s"
        raise BenchError(f"{what}: {state}: {output(child)[-500:]}")


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Nothing(),
        KernelMirror(),
        Copytool("compiled"),
        Copytool("pure"),
        Forward("forward", "compiled"),
        Forward("forward-tls", "compiled", is_encrypted=True),
        Forward("forward-pure", "pure"),
        Tcpcopy(),
        Goreplay(),
    )
}
"""In the order in which they are shown."""
