"""What is measured, in which order, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main, parse_arguments, plan, select_scenarios, select_tools
from bench.errors import BenchError
from bench.scenarios import SCENARIOS, listing
from bench.tools import TOOLS, find_program, kernel_mirror_rules


def test_names_are_unique_and_keys_are_unique_within_a_scenario() -> None:
    assert len({each.name for each in SCENARIOS}) == len(SCENARIOS)
    for scenario in SCENARIOS:
        keys = [metric.key for metric in scenario.metrics]
        assert len(set(keys)) == len(keys), scenario.name
        assert any(metric.headline for metric in scenario.metrics), scenario.name
        assert {metric.better for metric in scenario.metrics} <= {"low", "high", ""}
        assert scenario.baselines <= {"none", "kernel"}


def test_scenarios_by_name_and_by_group() -> None:
    assert [each.name for each in select_scenarios("loss,redis", False)] == ["redis", "loss-1", "loss-5"]
    assert [each.name for each in select_scenarios(" upload-4 ", False)] == ["upload-4"]
    assert select_scenarios("", False) == list(SCENARIOS)


def test_quick_takes_the_quick_ones_and_those_that_are_named() -> None:
    quick = select_scenarios("", True)
    assert quick == [each for each in SCENARIOS if each.quick]
    assert len({each.group for each in quick}) >= 6
    assert [each.name for each in select_scenarios("idle", True)] == ["idle"]


def test_unknown_names_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(BenchError, match=r"--only.*'keepalife'.*keepalive"):
        select_scenarios("redis,keepalife", False)
    with pytest.raises(BenchError, match=r"--tools.*'tcpdump'.*tcpcopy"):
        select_tools("tcpcopy,tcpdump")


def test_tools_take_turns_at_being_first() -> None:
    redis = select_scenarios("redis", False)
    tools = select_tools("pure,compiled,tcpcopy,goreplay,none")
    order = [(number, tool.name) for number, _, tool in plan(redis, tools, 4)]
    assert order == [
        (1, "compiled"), (1, "pure"), (1, "tcpcopy"),
        (2, "pure"), (2, "tcpcopy"), (2, "compiled"),
        (3, "tcpcopy"), (3, "compiled"), (3, "pure"),
        (4, "compiled"), (4, "pure"), (4, "tcpcopy"),
    ]  # fmt: skip


def test_who_takes_part() -> None:
    taking = {each.name: [name for name, tool in TOOLS.items() if each.includes(tool)] for each in SCENARIOS}
    fed = ["forward", "forward-tls", "forward-pure"]
    assert taking["keepalive-10x1000"] == ["compiled", "pure", *fed, "tcpcopy", "goreplay"]
    assert taking["upload-1"] == ["compiled", "pure", *fed, "tcpcopy"]
    assert taking["loss-1"] == ["compiled", "pure", "tcpcopy"]
    assert taking["closed-loop"] == ["none", "compiled", "pure", "tcpcopy", "goreplay"]
    assert taking["floor"] == ["kernel"]


def test_what_forward_feeds_takes_part_where_it_is_named() -> None:
    assert [tool.name for tool in select_tools("forward,compiled")] == ["compiled", "forward"]
    unnamed = [tool.name for tool in select_tools("")]
    assert "compiled" in unnamed
    assert not [name for name in unnamed if name.startswith("forward")]


def test_rounds() -> None:
    assert parse_arguments([]).rounds == 3
    assert parse_arguments(["--quick"]).rounds == 1
    assert parse_arguments(["--quick", "--rounds", "2"]).rounds == 2
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(["--rounds", "-1"])


def test_listing_names_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOREPLAY", raising=False)
    text = listing()
    assert all(f": {each.name}, " in text for each in SCENARIOS)
    assert "goreplay: goreplay, absent: GOREPLAY is not set" in text


def test_mistakes_end_with_status_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--only", "nonsense", "--output", str(tmp_path)]) == 2
    assert main(["--report-only", "--output", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert "--only: no scenario or group 'nonsense'" in errors
    assert "no results there yet" in errors


@pytest.mark.parametrize("place", ["tcpcopy", "sbin/tcpcopy", "objs/tcpcopy", "bin/tcpcopy"])
def test_programs_are_found_where_they_are_built_or_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("TCPCOPY_DIR", str(tmp_path))
    assert find_program("TCPCOPY_DIR", "tcpcopy") == ""
    program = tmp_path / place
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\n")
    assert find_program("TCPCOPY_DIR", "tcpcopy") == ""
    program.chmod(0o755)
    assert find_program("TCPCOPY_DIR", "tcpcopy") == str(program)


def test_absent_peers_say_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TCPCOPY_DIR", str(tmp_path))
    monkeypatch.setenv("GOREPLAY", str(tmp_path / "gor"))
    assert TOOLS["tcpcopy"].absent() == f"TCPCOPY_DIR={tmp_path}: no program tcpcopy there, in sbin, objs or bin"
    assert TOOLS["goreplay"].absent() == f"GOREPLAY={tmp_path / 'gor'}: no program there"
    monkeypatch.delenv("TCPCOPY_DIR")
    assert "TCPCOPY_DIR is not set" in TOOLS["tcpcopy"].absent()


def test_a_duplicate_leaves_under_online_s_own_address() -> None:
    """With the client's as its source, the switch would take online for the client."""
    rules = kernel_mirror_rules("02:00:00:00:00:0a", "02:00:00:00:00:65")
    assert "ether saddr set 02:00:00:00:00:0a ether daddr set 02:00:00:00:00:65" in rules
