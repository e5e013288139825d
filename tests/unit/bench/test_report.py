"""Table, page and document say the same numbers, and escape what others have said."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.plots import Bar, Group, bar_chart, nice_limit
from bench.report import common_words, page
from bench.results import Measurement, Results, Shown
from bench.scenario import Metric
from bench.summary import Summary
from bench.table import cell, format_number, format_share, markdown_table, scenario_rows, text_table

METRICS = (
    Metric("late", "3 s later", "%", "high"),
    Metric("cpu", "CPU per request", "µs"),
    Metric("cpu_user", "of it user", "µs", headline=False),
    Metric("never", "what no tool has", "s"),
)


@pytest.fixture
def results() -> Results:
    """Two tools that were measured three times, one that failed, one that is absent."""
    made = Results()
    made.machine = {"processor": "A <fast> one", "cores": 2, "kernel": "6.1", "python": "3.11", "measured": "today"}
    for name in ("pure", "tcpcopy", "goreplay"):
        absent = "GOREPLAY is not set" if name == "goreplay" else ""
        made.tools[name] = {"title": f"the {name}", "version": "1.0", "absent": absent}
    made.scenarios["load"] = Shown("A load, light", "keepalive", METRICS)
    made.scenarios["other"] = Shown("A load, heavy", "keepalive", METRICS)
    made.scenarios["unmeasured"] = Shown("Nothing", "redis", METRICS)
    for number in (1, 2, 3):
        sample = {"late": 99.0 + number / 4, "cpu": 40.0 + number, "cpu_user": 30.0}
        made.measurements.append(Measurement("load", "pure", number, sample))
        made.measurements.append(Measurement("load", "tcpcopy", number, {"late": 100.0, "cpu": 21.0, "cpu_user": 4.0}))
    made.measurements.append(Measurement("other", "pure", 1, error="round 1: <it> broke"))
    return made


def test_numbers_have_three_digits() -> None:
    values = (0, 0.1234, 0.99951, 1.2345, 9.996, 12.345, 99.96, 123.4, 12345.6)
    assert [format_number(value) for value in values] == [
        "0", "0.123", "1.00", "1.23", "10.0", "12.3", "100", "123", "12,346",
    ]  # fmt: skip


def test_only_what_is_whole_is_100_per_cent() -> None:
    shown = [format_share(value) for value in (0.0, 67.86, 99.5, 99.999, 100.0, 200.0)]
    assert shown == ["0.0", "67.9", "99.50", "99.99", "100", "200"]


def test_a_cell_has_median_range_and_ratio() -> None:
    of_three, reference = Summary(42.0, 41.0, 43.0, 3), Summary(21.0, 21.0, 21.0, 3)
    assert cell(METRICS[1], of_three, reference) == "42.0 [41.0..43.0] (2x)"
    assert cell(METRICS[1], reference, None) == "21.0"
    assert cell(METRICS[1], Summary(420.0, 420.0, 420.0, 1), reference) == "420 (20x)"
    assert cell(METRICS[0], Summary(99.5, 99.25, 99.75, 3), reference) == "99.50 [99.25..99.75]"
    assert cell(METRICS[1], None, reference) == "-"


def test_rows_leave_out_what_nobody_has(results: Results) -> None:
    assert scenario_rows(results, "load") == [
        ["", "3 s later, %", "CPU per request, µs"],
        ["the pure", "99.50 [99.25..99.75]", "42.0 [41.0..43.0] (2x)"],
        ["the tcpcopy", "100", "21.0"],
    ]


def test_without_tcpcopy_the_compiled_copytool_is_what_others_are_compared_with(results: Results) -> None:
    assert "times the median of the tcpcopy" in text_table(results)
    results.replace({("load", "tcpcopy")})
    assert scenario_rows(results, "load")[1][-1] == "42.0 [41.0..43.0]"
    results.tools["compiled"] = {"title": "the compiled", "version": "1.0", "absent": ""}
    results.measurements.append(Measurement("load", "compiled", 1, {"cpu": 21.0}))
    assert scenario_rows(results, "load")[1][-1] == "42.0 [41.0..43.0] (2x)"
    assert "times the median of the compiled" in text_table(results)


def test_text_has_tools_numbers_and_failures(results: Results) -> None:
    text = text_table(results)
    for part in ("absent: GOREPLAY is not set", "42.0 [41.0..43.0] (2x)", "the pure: round 1: <it> broke", "A <fast>"):
        assert part in text
    assert "Nothing" not in text


def test_markdown(results: Results) -> None:
    lines = markdown_table(results).splitlines()
    assert "| the tcpcopy | 100 | 21.0 |" in lines
    assert "|---|---|---|" in lines


def test_the_page_is_whole_and_escaped(results: Results) -> None:
    text = page(results)
    assert text.count("<svg") == text.count("</svg>") == 3
    assert "<it>" not in text and "&lt;it&gt; broke" in text
    assert "A &lt;fast&gt; one" in text
    assert "GOREPLAY is not set" in text
    assert "http://" not in text and "https://" not in text and "<script" not in text
    for drawing in text.split("<svg")[1:]:
        ET.fromstring("<svg" + drawing.split("</svg>")[0] + "</svg>")


def test_the_overview_compares_with_tcpcopy(results: Results) -> None:
    text = page(results)
    assert "Price at a glance" in text
    assert ">2.00x</text>" in text
    results.replace({("load", "tcpcopy")})
    assert "Price at a glance" not in page(results)


def test_bars_have_lengths_in_proportion(results: Results) -> None:
    bars = [
        Bar("pure", "pure", Summary(80.0, 80.0, 80.0, 1), "80.0", 60.0),
        Bar("tcpcopy", "tcpcopy", Summary(20.0, 10.0, 30.0, 3), "20.0"),
    ]
    root = ET.fromstring(bar_chart("CPU", "µs", [Group("a <load>", bars)]))
    widths = {each.get("class"): float(each.get("width", 0)) for each in root.iter("rect")}
    assert widths["bar pure"] == pytest.approx(3 * widths["bar pale pure"], rel=0.01)
    assert widths["bar pure"] + widths["bar pale pure"] == pytest.approx(4 * widths["bar tcpcopy"], rel=0.01)
    assert len([each for each in root.iter("path") if each.get("class") == "range"]) == 1
    assert "a <load>" in [each.text for each in root.iter("text")]


@pytest.mark.parametrize(
    ("value", "limit"), [(0, 1), (0.7, 0.8), (1, 1), (1.01, 1.5), (43, 50), (100, 100), (101, 150)]
)
def test_axes_end_at_round_numbers(value: float, limit: float) -> None:
    assert nice_limit(value) == pytest.approx(limit)


def test_what_titles_share() -> None:
    assert common_words(["HTTP, 10 x 1", "HTTP, 10 x 2"]) == "HTTP, "
    assert common_words(["50 MB on one", "50 MB on four"]) == ""
    assert common_words(["A, b, 1", "A, b, 2"]) == "A, b, "


def test_a_document_survives_being_written_and_read(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    results.write(path)
    again = Results.read(path)
    assert text_table(again) == text_table(results)
    assert page(again) == page(results)
    assert list(path.parent.iterdir()) == [path]


def test_measuring_again_replaces(results: Results) -> None:
    results.replace({("load", "pure")})
    assert results.measured("load") == ["tcpcopy"]
    assert results.errors("other", "pure") == ["round 1: <it> broke"]


def test_foreign_documents_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("{")
    with pytest.raises(BenchError, match="cannot be read"):
        Results.read(path)
    path.write_text(json.dumps({"version": 999}))
    with pytest.raises(BenchError, match="another version"):
        Results.read(path)
