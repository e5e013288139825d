"""Commands for one host, joined to one script so that one connection does, and what each of them said."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

NEVER_RAN = -1


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and the heading of its output."""

    title: str
    command: str
    inline: bool = False
    """The first line of the output belongs into the heading."""
    reason: str = ""
    """What to call its failure; its exit status when empty."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a step."""

    step: Step
    status: int
    output: str

    def text(self, host: str) -> str:
        """Heading and output."""
        first, _, rest = self.output.partition("\n") if self.step.inline else ("", "", self.output)
        heading = f"{host}: {self.step.title} {first}".rstrip()
        return f"{heading}\n{rest}" if rest.endswith("\n") or not rest else f"{heading}\n{rest}\n"


def new_mark() -> str:
    """A line that no output has by accident, nor on purpose."""
    return f"--{secrets.token_hex(8)}"


def join(steps: Sequence[Step], mark: str) -> str:
    """One script of all steps. It ends with status 0; split() has that of each step."""
    parts = [f"printf '%s\\n' {mark}\n(\n{step.command}\n) 2>&1\nprintf '%s %s\\n' {mark} $?\n" for step in steps]
    return "".join(parts)


def started(output: str, mark: str) -> bool:
    """Whether the script began at all."""
    return output.startswith(f"{mark}\n")


def split(steps: Sequence[Step], mark: str, output: str) -> list[Done]:
    """What each step said. The output of a script that was broken off lacks the ends of some."""
    done = []
    rest = output
    for step in steps:
        _, begun, rest = rest.partition(f"{mark}\n")
        text, ended, rest = rest.partition(f"{mark} ")
        status, _, rest = rest.partition("\n")
        if begun:
            done.append(Done(step, int(status) if ended and status else NEVER_RAN, text))
    return done
