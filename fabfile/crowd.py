"""Runs a program for each of many hosts, a bounded number at a time, and hands out the results in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

MOST_OUTPUT_BYTES = 64 << 20
CHUNK_BYTES = 1 << 16
GRACE_S = 0.5
POLL_S = 0.01
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Job:
    """A program to run."""

    command: Sequence[str]
    first_input: str = ""
    """What it may read before its standard input falls silent; that ends only with the job, ..."""
    prompt: str = ""
    """... or when this stands twice among its messages: what it was given is not what it asks for."""
    file: BinaryIO | None = None
    """Where its output goes, if not into the result."""
    problem: str = ""
    """Why it cannot be run."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended."""

    status: int | None = None
    """None when it had to be ended."""
    output: str = ""
    messages: str = ""
    problem: str = ""


async def run_all(
    jobs: Sequence[Job], at_a_time: int, timeout_s: float | None, deliver: Callable[[int, Result], None]
) -> None:
    """Run jobs; deliver() gets each one's index and result, in order, as soon as it and all before it are there.

    When this is cancelled it ends what runs, and delivers what there is before it raises.
    """
    places = asyncio.Semaphore(at_a_time)

    async def one(job: Job) -> Result:
        async with places:
            return await run(job, timeout_s)

    tasks = [asyncio.create_task(one(job)) for job in jobs]
    delivered = 0
    try:
        for task in tasks:
            deliver(delivered, await asyncio.shield(task))
            delivered += 1
    finally:
        await end(tasks)
        for index in range(delivered, len(tasks)):
            whole = not tasks[index].cancelled() and not tasks[index].exception()
            deliver(index, tasks[index].result() if whole else Result(problem=INTERRUPTED))


async def run(job: Job, timeout_s: float | None) -> Result:
    """Run a job to its end, or until time is up."""
    if job.problem:
        return Result(problem=job.problem)
    try:
        process = await start(job)
    except OSError as error:
        return Result(problem=f"{job.command[0]}: {error.strerror}")
    output, messages = bytearray(), bytearray()
    assert process.stderr is not None
    readers = [collect(process.stderr, messages, lambda: end_input(job, process, messages))]
    if process.stdout is not None:
        readers.append(collect(process.stdout, output))
    status, problem = None, ""
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*readers)
            status = await process.wait()
    except TimeoutError:
        problem = f"no end after {timeout_s:g} s"
    except OverflowError:
        problem = f"more than {MOST_OUTPUT_BYTES >> 20} MiB of output"
    finally:
        await finish(process)
    return Result(status, output.decode(errors="replace"), messages.decode(errors="replace"), problem)


async def follow_all(
    jobs: Sequence[Job], tell: Callable[[int, str], None], gone: Callable[[int, Result], None]
) -> None:
    """Run jobs that do not end by themselves.

    tell() gets each line, with its job's index, as soon as it is whole; gone() is told of a job that ended after all.
    """

    async def one(index: int, job: Job) -> None:
        gone(index, Result(problem=job.problem) if job.problem else await follow(job, partial(tell, index)))

    tasks = [asyncio.create_task(one(index, job)) for index, job in enumerate(jobs)]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def follow(job: Job, tell: Callable[[str], None]) -> Result:
    """Run a job, and tell each line of its output."""
    try:
        process = await start(job)
    except OSError as error:
        return Result(problem=f"{job.command[0]}: {error.strerror}")
    assert process.stdout is not None
    assert process.stderr is not None
    messages, lines = bytearray(), Lines()
    errors = asyncio.create_task(collect(process.stderr, messages, lambda: end_input(job, process, messages)))
    try:
        while chunk := await process.stdout.read(CHUNK_BYTES):
            for line in lines.take(chunk):
                tell(line)
        await errors
        return Result(await process.wait(), messages=messages.decode(errors="replace"))
    finally:
        for line in lines.rest():
            tell(line)
        errors.cancel()
        await finish(process)


class Lines:
    """Cuts what arrives in pieces into lines."""

    def __init__(self) -> None:
        self._begun = b""

    def take(self, chunk: bytes) -> list[str]:
        """The lines that are whole now."""
        *whole, self._begun = (self._begun + chunk).split(b"\n")
        if len(self._begun) > MOST_OUTPUT_BYTES:
            whole.append(self._begun)
            self._begun = b""
        return [line.decode(errors="replace") for line in whole]

    def rest(self) -> list[str]:
        """The line that was never ended."""
        begun, self._begun = self._begun, b""
        return [begun.decode(errors="replace")] if begun else []


async def start(job: Job) -> asyncio.subprocess.Process:
    """Start a job's program, where a Ctrl-C for us does not reach it: we end it ourselves."""
    process = await asyncio.create_subprocess_exec(
        *job.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE if job.file is None else job.file,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
        preexec_fn=heed_hangups,
    )
    assert process.stdin is not None
    process.stdin.write(job.first_input.encode())
    return process


def heed_hangups() -> None:
    """Undo what nohup has done: by SIGHUP ssh ends its ProxyCommand, which would keep the messages open for ever."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


async def collect(stream: asyncio.StreamReader, into: bytearray, look: Callable[[], None] = lambda: None) -> None:
    """Read a stream to its end; look() whenever there is more."""
    while chunk := await stream.read(CHUNK_BYTES):
        into += chunk
        if len(into) > MOST_OUTPUT_BYTES:
            raise OverflowError
        look()


def end_input(job: Job, process: asyncio.subprocess.Process, messages: bytearray) -> None:
    """End a program's input when it asks for the second time."""
    if job.prompt and messages.count(job.prompt.encode()) > 1:
        assert process.stdin is not None
        process.stdin.close()


async def finish(process: asyncio.subprocess.Process) -> None:
    """End a program: by the end of its input, which ends what it runs on the host, too; then by force."""
    assert process.stdin is not None
    process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        if await has_ended(process):
            break
        with suppress(ProcessLookupError, PermissionError):  # sudo's, here, which the end of its input ends
            os.killpg(process.pid, number)
    await has_ended(process)
    process._transport.close()  # type: ignore[attr-defined]  # what nobody has read would keep its pipes open
    await asyncio.sleep(0)


async def has_ended(process: asyncio.subprocess.Process) -> bool:
    """Whether a program ends soon. Neither its own wait() nor asyncio.timeout() will do.

    The former waits until somebody has read all its output, too; the latter, in Python 3.11, raises no TimeoutError in
    a task that is being cancelled.
    """
    for _ in range(round(GRACE_S / POLL_S)):
        if process.returncode is not None:
            return True
        await asyncio.sleep(POLL_S)
    return process.returncode is not None


async def end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel what still runs, and wait until it is gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
