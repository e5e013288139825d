"""Programs for many hosts: real ones, as they would be without the hosts."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from fabfile.crowd import INTERRUPTED, Job, Lines, Result, follow_all, run_all

PATIENCE_S = 20


def shell(script: str) -> Job:
    return Job(("sh", "-c", script))


def run(jobs: list[Job], at_a_time: int = 10, timeout_s: float | None = PATIENCE_S) -> list[Result]:
    delivered: list[tuple[int, Result]] = []
    asyncio.run(run_all(jobs, at_a_time, timeout_s, lambda index, result: delivered.append((index, result))))
    assert [index for index, _ in delivered] == list(range(len(jobs)))
    return [result for _, result in delivered]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(path: Path) -> int:
    """The number that somebody writes into a file."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return int(text)
        time.sleep(0.01)
    pytest.fail(f"no {path}")


def test_results_come_in_the_order_of_the_jobs_not_of_their_ends(tmp_path: Path) -> None:
    """The first job ends only when the last one has."""
    flag = tmp_path / "flag"
    jobs = [shell(f"until [ -e {flag} ]; do sleep 0.01; done; echo one"), shell("echo two"), shell(f"echo 3 > {flag}")]
    assert [result.output for result in run(jobs)] == ["one\n", "two\n", ""]


def test_output_messages_and_status_are_kept_apart() -> None:
    assert run([shell("echo out; echo error >&2; exit 3")]) == [Result(3, "out\n", "error\n")]


def test_programs_can_be_hung_up_under_nohup() -> None:
    """A connection that is given up must be able to end its ProxyCommand, which holds the messages open."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        (result,) = run([shell("sleep 1000 >&2 & kill -s HUP $!; wait $!; echo $?")])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert result.output == f"{128 + signal.SIGHUP}\n"


def test_a_result_is_delivered_before_later_jobs_have_ended(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    seen: list[str] = []

    def deliver(index: int, result: Result) -> None:
        seen.append(result.output)
        flag.touch()

    asyncio.run(
        run_all([shell("echo one"), shell(f"until [ -e {flag} ]; do sleep 0.01; done")], 2, PATIENCE_S, deliver)
    )
    assert seen == ["one\n", ""]


def test_no_more_run_at_a_time_than_may(tmp_path: Path) -> None:
    """Each leaves a file while it runs, and says how many there are."""
    script = f"touch {tmp_path}/$$; sleep 0.05; ls {tmp_path} | wc -l; rm {tmp_path}/$$"
    counts = [int(result.output) for result in run([shell(script)] * 9, at_a_time=3)]
    assert max(counts) <= 3


def test_a_job_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    slow = shell(f"sleep 1000 & echo $! > {tmp_path}/pid; echo begun; wait")
    results = run([slow, shell("echo quick")], timeout_s=1)
    assert results == [Result(None, "begun\n", "", "no end after 1 s"), Result(0, "quick\n")]
    assert not alive(wait_for(tmp_path / "pid"))


def test_a_job_that_ignores_requests_to_end_is_killed() -> None:
    assert run([shell("trap '' TERM; while :; do sleep 0.1; done")], timeout_s=0.3)[0].problem == "no end after 0.3 s"


def test_a_job_that_cannot_be_run_says_why() -> None:
    missing, refused = run([Job(("/nowhere/ssh",)), Job((), problem="no such file")])
    assert missing.problem == "/nowhere/ssh: No such file or directory"
    assert refused.problem == "no such file"


def test_output_without_end_is_cut_off() -> None:
    (result,) = run([shell("yes 'as much as can be, and more of it'")])
    assert result.problem == "more than 64 MiB of output"


def test_input_is_given_and_stays_open() -> None:
    """`read` gets its line; `cat` would end if the input did."""
    (result,) = run([Job(("sh", "-c", "read word; echo got $word; cat"), first_input="secret\n")], timeout_s=0.5)
    assert result == Result(None, "got secret\n", "", "no end after 0.5 s")


def test_who_asks_again_gets_no_more() -> None:
    """As sudo does when the password is wrong: it is not tried a second time."""
    asking = "for try in 1 2 3; do printf 'word? ' >&2; read -r word || exit 9; done"
    (result,) = run([Job(("sh", "-c", asking), first_input="wrong\n", prompt="word? ")])
    assert result == Result(9, "", "word? word? ")


def test_output_can_go_to_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        assert run([Job(("printf", r"\000\377"), file=file)]) == [Result(0)]
    assert (tmp_path / "out").read_bytes() == b"\x00\xff"


def test_ctrl_c_ends_everything_and_delivers_what_there_is(tmp_path: Path) -> None:
    delivered: list[Result] = []
    jobs = [
        shell(f"echo $$ > {tmp_path}/pid; exec sleep 1000"),
        shell(f"echo done; echo $$ > {tmp_path}/second"),
    ]

    def interrupt() -> None:
        wait_for(tmp_path / "pid")
        second = wait_for(tmp_path / "second")
        while alive(second):
            time.sleep(0.01)
        time.sleep(0.1)  # for our own side to notice that it has ended
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run_all(jobs, 2, None, lambda _, result: delivered.append(result)))
    thread.join()
    assert [result.problem for result in delivered] == [INTERRUPTED, ""]
    assert delivered[1].output == "done\n"
    assert not alive(wait_for(tmp_path / "pid"))


def test_followed_lines_come_whole_with_their_job(tmp_path: Path) -> None:
    """Two jobs write halves of lines in turn; each line is told once it is whole."""
    flag, lines, ends = tmp_path / "flag", [], []
    one = shell(f"printf 'one '; touch {flag}; while [ -e {flag} ]; do sleep 0.01; done; echo whole; exit 4")
    two = shell(f"until [ -e {flag} ]; do sleep 0.01; done; echo two; rm {flag}; printf rest; echo no >&2")

    def tell(index: int, line: str) -> None:
        lines.append((index, line))

    def gone(index: int, result: Result) -> None:
        ends.append((index, result))

    asyncio.run(follow_all([one, two, Job((), problem="down")], tell, gone))
    assert sorted(lines) == [(0, "one whole"), (1, "rest"), (1, "two")]
    assert sorted(ends, key=lambda end: end[0]) == [
        (0, Result(4)),
        (1, Result(0, messages="no\n")),
        (2, Result(problem="down")),
    ]


def test_lines_are_cut_wherever_the_pieces_are() -> None:
    text = "one\ntwo, größer\n\nlast"
    raw = text.encode()
    for size in range(1, len(raw) + 1):
        lines = Lines()
        cut = [line for start in range(0, len(raw), size) for line in lines.take(raw[start : start + size])]
        assert cut == ["one", "two, größer", ""]
        assert lines.rest() == ["last"]
        assert lines.rest() == []
