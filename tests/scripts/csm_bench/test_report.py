"""The figures of a run, kept whatever happens to it."""

import pytest

from scripts.csm_bench.report import FLOOR, Report, Row
from scripts.csm_bench.timing import typical


def test_every_row_is_on_the_disk_as_soon_as_it_is_there(tmp_path):
    path = tmp_path / "csm.json"
    report = Report({"machine": "this one"}, path)
    assert Report.read(path).rows == []
    row = report.add(Row("sessions", "graph", {"sessions": 8, "ms": 12.5, "holds": True}, "so"))
    report.leave_out("memory, graph")
    again = Report.read(path)
    assert again.rows == [row]
    assert again.left_out == ["memory, graph"]
    assert again.about == {"machine": "this one"}


def test_a_row_is_set_against_the_floor_by_the_bytes_that_it_reads():
    report = Report({})
    report.add(Row("frame", FLOOR, {"ms": 2.0, "bytes": 2_000_000, "bytes_per_s": 1e9}))
    row = report.add(Row("frame", "graph", {"ms": 12.0, "bytes": 3_000_000}))
    assert row.figures["floor_ms"] == pytest.approx(3.0)
    assert row.figures["times_floor"] == pytest.approx(4.0)
    assert row.figures["rtf"] == pytest.approx(0.15)


def test_the_lowest_floor_counts_for_the_rows_before_it_too():
    report = Report({})
    report.add(Row("frame", FLOOR, {"ms": 4.0, "bytes_per_s": 1e9}))
    report.add(Row("frame", "graph", {"ms": 12.0, "bytes": 4_000_000}))
    report.add(Row("frame", FLOOR, {"ms": 2.0, "bytes_per_s": 2e9}))
    report.add(Row("frame", FLOOR, {"ms": 3.0, "bytes_per_s": 1.5e9}))
    assert [row.figures.get("times_floor") for row in report.rows] == [None, pytest.approx(6.0)]


def test_without_a_floor_a_row_stands_alone():
    row = Report({}).add(Row("frame", "graph", {"ms": 12.0, "bytes": 3_000_000}))
    assert "times_floor" not in row.figures


@pytest.mark.parametrize(("count", "p99"), [(1, 1), (99, 99), (100, 99), (125, 124), (200, 198)])
def test_one_time_in_a_hundred_may_be_above_the_99th_percentile(count, p99):
    assert typical(range(1, count + 1))["p99_ms"] == p99
