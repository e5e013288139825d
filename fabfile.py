"""Everyday work on the mirror: `fab --list`, and `fab --help TASK` for one of them.

Tasks work on the lab, or on the hosts of the inventory that --inventory or COPYTOOL_INVENTORY names. The hosts
are reached with the lab's ssh_config, or the one that COPYTOOL_SSH_CONFIG names, or your own. A lab's ssh_config
is in .NAME for inventory/NAME.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabric import Config, Connection, task
from invoke import Context, Exit

REPOSITORY = Path(__file__).resolve().parent
LAB_INVENTORY = "inventory/lab"
DAEMONS = {"copy": "online_hosts", "intercept": "assistant_hosts"}
KINDS = {"online": "online_hosts", "target": "target_hosts", "assistant": "assistant_hosts", "client": "client_hosts"}
# A host that is down is reported in one line, not in paramiko's many.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

HELP_INVENTORY = "inventory to work on (COPYTOOL_INVENTORY, else inventory/lab)"
HELP_DAEMON = "copy or intercept; both when not given"


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts of an inventory."""

    inventory: str
    groups: dict[str, list[str]]
    variables: dict[str, dict[str, Any]]
    lab_ssh_config: Path | None
    """Where the ssh_config of a lab's hosts is; None when these are no lab's."""

    def connect(self, name: str) -> Connection:
        """A connection to a host, by the ssh_config and what the inventory says."""
        chosen = os.environ.get("COPYTOOL_SSH_CONFIG")
        config = chosen or self.lab_ssh_config
        if config and not Path(config).is_file():
            hint = "check COPYTOOL_SSH_CONFIG" if chosen else f"the lab is not up: run {self.make_lab()}"
            raise Exit(f"no {config}; {hint}")
        own = self.variables.get(name, {})
        settings = Config(runtime_ssh_path=str(config)) if config else Config()
        return Connection(
            literal(own, "ansible_host") or name,
            user=literal(own, "ansible_user") or None,
            port=literal(own, "ansible_port") or None,
            config=settings,
            connect_timeout=10,
        )

    def make_lab(self) -> str:
        """The command that makes the lab of this inventory."""
        own = Path(self.inventory).resolve()
        return "make lab" if own == REPOSITORY / LAB_INVENTORY else f"make lab INVENTORY={self.inventory}"

    def of_kind(self, kind: str) -> list[str]:
        """Names of the hosts of a kind, or the host of that name."""
        if kind in self.variables or any(kind in names for names in self.groups.values()):
            return [kind]
        if kind not in KINDS:
            raise Exit(f"no host {kind!r} in {self.inventory}; there are {', '.join(KINDS)} and host names")
        return self.groups.get(KINDS[kind], [])

    def running(self, daemon: str) -> list[tuple[str, str]]:
        """Daemon and host, for one daemon or for both."""
        if daemon and daemon not in DAEMONS:
            raise Exit(f"no daemon {daemon!r}; there are {' and '.join(DAEMONS)}")
        return [(own, host) for own, group in DAEMONS.items() if daemon in ("", own) for host in self.groups[group]]


def literal(variables: dict[str, Any], name: str) -> Any:
    """A host variable, unless it is a template that only Ansible can fill in."""
    value = variables.get(name)
    return None if isinstance(value, str) and "{{" in value else value


def fleet(inventory: str) -> Fleet:
    """Read an inventory."""
    chosen = inventory or os.environ.get("COPYTOOL_INVENTORY") or str(REPOSITORY / LAB_INVENTORY)
    if not Path(chosen).exists():
        raise Exit(f"no inventory {chosen}")
    listing = subprocess.run([tool("ansible-inventory"), "-i", chosen, "--list"], stdout=subprocess.PIPE, check=False)
    if listing.returncode != 0:
        raise Exit(f"could not read the inventory {chosen}")
    values = json.loads(listing.stdout)
    groups = {group: values.get(group, {}).get("hosts", []) for group in KINDS.values()}
    own = Path(chosen).resolve()
    lab_ssh_config = own.parents[1] / f".{own.name}" / "ssh_config" if "lab_hosts" in values else None
    return Fleet(chosen, groups, values["_meta"]["hostvars"], lab_ssh_config)


def tool(name: str) -> str:
    """A program that was installed beside fab."""
    return str(Path(sys.executable).with_name(name))


def run(connection: Connection, command: str, hide: bool = False, warn: bool = True) -> Any:
    """Run a command as root on a host; says plainly when the host cannot be reached."""
    prefix = "" if (connection.user or "root") == "root" else "sudo -n "
    try:
        return connection.run(f"{prefix}{command}", hide=hide, warn=warn, in_stream=False)
    except Exit:
        raise
    except Exception as error:  # paramiko, ssh and the proxy command each have their own
        reason = str(error) or type(error).__name__
        raise Exit(f"{connection.original_host} does not answer: {reason}. In the lab: make lab") from None


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}", flush=True)


@task(help={"inventory": HELP_INVENTORY})
def status(_: Context, inventory: str = "") -> None:
    """Show what runs on each host, the link and the counters."""
    hosts = fleet(inventory)
    for daemon, host in hosts.running(""):
        title(f"{host}: copytool {daemon}")
        connection = hosts.connect(host)
        state = run(connection, f"systemctl is-active copytool@{daemon}", hide=True).stdout.strip()
        print(f"  service      {state or 'unknown'}")
        run(connection, f"copytool status {daemon}")
    for kind in ("online", "target"):
        for host in hosts.of_kind(kind):
            state = run(hosts.connect(host), "systemctl is-active echo_server", hide=True).stdout.strip()
            title(f"{host}: echo service {state or 'not there'}")


@task(help={"count": "how many sessions", "inventory": HELP_INVENTORY})
def ended(_: Context, count: int = 20, inventory: str = "") -> None:
    """Show the mirrored sessions that ended last, with outcome and reason."""
    hosts = fleet(inventory)
    for _own, host in hosts.running("copy"):
        title(f"{host}: the last sessions")
        run(hosts.connect(host), f"copytool status --sessions {int(count)}")


@task(help={"daemon": HELP_DAEMON, "lines": "how many lines", "inventory": HELP_INVENTORY})
def logs(_: Context, daemon: str = "", lines: int = 50, inventory: str = "") -> None:
    """Show the last log lines of the daemons."""
    hosts = fleet(inventory)
    for own, host in hosts.running(daemon):
        title(f"{host}: copytool {own}")
        run(hosts.connect(host), f"journalctl --no-pager -n {int(lines)} -o short-iso -u copytool@{own}")


@task(help={"daemon": HELP_DAEMON, "inventory": HELP_INVENTORY})
def follow(_: Context, daemon: str = "", inventory: str = "") -> None:
    """Follow the logs of the daemons until Ctrl-C."""
    hosts = fleet(inventory)
    threads = []
    for own, host in hosts.running(daemon):
        command = f"journalctl --no-pager -f -n 5 -o short -u copytool@{own}"
        threads.append(threading.Thread(target=run, args=(hosts.connect(host), command), daemon=True))
    for thread in threads:
        thread.start()
    with suppress(KeyboardInterrupt):
        for thread in threads:
            thread.join()


@task(help={"inventory": HELP_INVENTORY})
def pause(_: Context, inventory: str = "") -> None:
    """Mirror no new connections; sessions that are open go on."""
    steer(inventory, "pause")


@task(help={"inventory": HELP_INVENTORY})
def resume(_: Context, inventory: str = "") -> None:
    """Mirror new connections again."""
    steer(inventory, "resume")


@task(help={"percent": "of the connections", "ramp": "get there step by step, like 10m", "inventory": HELP_INVENTORY})
def ratio(_: Context, percent: str, ramp: str = "", inventory: str = "") -> None:
    """Mirror another share of the new connections."""
    steer(inventory, "ratio", percent, *(("ramp", ramp) if ramp else ()))


@task(help={"count": "mirror sessions per client connection", "inventory": HELP_INVENTORY})
def copies(_: Context, count: int, inventory: str = "") -> None:
    """Mirror new connections so many times each."""
    steer(inventory, "copies", str(count))


@task(help={"timeout": "give up after that, like 10m", "inventory": HELP_INVENTORY})
def drain(_: Context, timeout: str = "", inventory: str = "") -> None:
    """Pause, and wait until no session is open any more."""
    steer(inventory, "pause")
    steer(inventory, "drain", *(("--timeout", timeout) if timeout else ()))


def steer(inventory: str, *words: str) -> None:
    """Run one of copytool's commands on every host where copy runs; fails in the end if one of them did."""
    hosts = fleet(inventory)
    failed = []
    for _own, host in hosts.running("copy"):
        title(f"{host}: copytool {words[0]}")
        try:
            done = bool(run(hosts.connect(host), f"copytool {shlex.join(words)}"))
        except Exit as problem:
            print(problem.message)
            done = False
        if not done:
            failed.append(host)
    if failed:
        raise Exit(f"{words[0]} failed on {', '.join(failed)}")


@task(help={"daemon": HELP_DAEMON, "inventory": HELP_INVENTORY})
def start(_: Context, daemon: str = "", inventory: str = "") -> None:
    """Start the daemons, intercept first."""
    control(fleet(inventory), "start", daemon, copy_first=False)


@task(help={"daemon": HELP_DAEMON, "inventory": HELP_INVENTORY})
def stop(_: Context, daemon: str = "", inventory: str = "") -> None:
    """Stop the daemons, copy first. The online service runs on."""
    control(fleet(inventory), "stop", daemon, copy_first=True)


@task(help={"daemon": HELP_DAEMON, "inventory": HELP_INVENTORY})
def restart(_: Context, daemon: str = "", inventory: str = "") -> None:
    """Restart the daemons, intercept first. Sessions being mirrored are given up."""
    control(fleet(inventory), "restart", daemon, copy_first=False)


def control(hosts: Fleet, verb: str, daemon: str, *, copy_first: bool) -> None:
    """Start, stop or restart daemons in order and say how that went."""
    order = hosts.running(daemon)
    for own, host in order if copy_first else reversed(order):
        connection = hosts.connect(host)
        result = run(connection, f"systemctl {verb} copytool@{own}", hide=True)
        state = run(connection, f"systemctl is-active copytool@{own}", hide=True).stdout.strip()
        print(f"{host}: copytool {own} {state}")
        if result.failed:
            raise Exit(f"{result.stderr.strip()}\nSee: fab logs --daemon {own}")


@task(
    help={
        "host": "online, target, assistant, client, or a host's name",
        "filter": "what to capture, as for tcpdump (all TCP but ssh)",
        "seconds": "how long at most (10)",
        "packets": "how many at most (10000)",
        "output": "local file; HOST.pcap when not given",
        "inventory": HELP_INVENTORY,
    }
)
def capture(
    _: Context,
    host: str,
    filter: str = "tcp and not port 22",
    seconds: int = 10,
    packets: int = 10000,
    output: str = "",
    inventory: str = "",
) -> None:
    """Capture packets on a host into a local pcap file."""
    hosts = fleet(inventory)
    names = hosts.of_kind(host)
    if output and len(names) > 1:
        raise Exit(f"--output is one file, and there are {', '.join(names)}: name one of them")
    for name in names:
        path = Path(output or f"{name}.pcap")
        print(f"capturing on {name} for {int(seconds)} s or {int(packets)} packets ...", flush=True)
        connection = hosts.connect(name)
        remote = run(connection, "mktemp /tmp/capture-XXXXXX.pcap", hide=True, warn=False).stdout.strip()
        try:
            limits = f"timeout --signal=INT {int(seconds)} tcpdump -Z root -i any -n -U -c {int(packets)}"
            result = run(connection, f"{limits} -w {remote} {shlex.quote(filter)}", hide=True)
            if result.exited not in (0, 124):
                raise Exit(f"tcpdump on {name}: {result.stderr.strip()}")
            connection.get(remote, str(path.resolve()))
        finally:
            run(connection, f"rm -f {remote}", hide=True)
        print(f"{path}: {path.stat().st_size} bytes; read it with tcpdump -nr {path}")


@task(
    help={
        "count": "how many sessions",
        "concurrency": "how many at once",
        "turns": "at most this many requests in a session",
        "max-bytes": "at most this many bytes in a request",
        "inventory": HELP_INVENTORY,
    }
)
def sessions(
    _: Context, count: int = 100, concurrency: int = 20, turns: int = 10, max_bytes: int = 8192, inventory: str = ""
) -> None:
    """Drive test sessions and say how many reached the target byte for byte."""
    hosts = fleet(inventory)
    if not hosts.groups["client_hosts"]:
        raise Exit(f"{hosts.inventory} has no host in client_hosts to drive sessions from")
    values = {"sessions": count, "concurrency": concurrency, "turns": turns, "max_bytes": max_bytes}
    play(hosts, "verify.yml", {f"mirror_check_{name}": int(value) for name, value in values.items()})


@task(help={"inventory": HELP_INVENTORY})
def check(_: Context, inventory: str = "") -> None:
    """Find out why nothing arrives, hop by hop over all hosts; before mirroring or meanwhile."""
    play(fleet(inventory), "check.yml", {})


def play(hosts: Fleet, playbook: str, values: dict[str, int]) -> None:
    """Run a playbook and show the summary that it prints."""
    variables: dict[str, object] = dict(values)
    if config := os.environ.get("COPYTOOL_SSH_CONFIG"):
        variables["ansible_ssh_common_args"] = f"-F {shlex.quote(config)}"
    command = [tool("ansible-playbook"), f"playbooks/{playbook}", "-i", str(Path(hosts.inventory).resolve())]
    command += ["-e", json.dumps(variables)]
    result = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    report = summary_of(result.stdout)
    print("\n".join(report) if report else result.stdout)
    if result.returncode != 0:
        raise Exit(code=1)


def summary_of(output: str) -> list[str]:
    """The summary that a playbook printed among Ansible's own lines."""
    lines = output.splitlines()
    with suppress(ValueError):
        if "Hop by hop" in lines:
            table = lines.index("Hop by hop")
            return lines[table - 2 : lines.index("", table)]
        hosts = lines.index("Hosts")
        end = lines.index("Look around") if "Look around" in lines else len(lines)
        return lines[hosts - 2 : end]
    return []


@task(help={"inventory": HELP_INVENTORY})
def route(_: Context, inventory: str = "") -> None:
    """Show the route of mirrored sessions' answers: target to assistant, and that it ends there."""
    hosts = fleet(inventory)
    for host in hosts.of_kind("target"):
        title(f"{host}: routes")
        connection = hosts.connect(host)
        run(connection, "ip route show")
        run(connection, "systemctl --no-pager -n 0 status mirror-route | sed -n 2,4p")
    for host in hosts.of_kind("assistant"):
        title(f"{host}: forwarding (0 is right)")
        run(hosts.connect(host), "sysctl net.ipv4.ip_forward")
