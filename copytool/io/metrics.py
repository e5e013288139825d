"""What the daemons count, as metrics for Prometheus (OpenMetrics names: units and _total at the end).

The figures come from the daemons' status documents: a scrape costs the mirror one question on the control socket, and
nothing of Prometheus' client is loaded where packets pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..link.frames import plain
from ..mirror.histogram import BOUNDS_S

__all__ = ["StatusCollector", "copy_metrics", "forward_metrics", "intercept_metrics"]

_log = logging.getLogger(__name__)

_MAX_LABEL = 200

Document = Mapping[str, Any]
Ask = Callable[[], Mapping[str, Document | None]]
"""Returns the status document of each daemon of this host by role, None for one that does not answer."""


class StatusCollector(Collector):
    """Asks the daemons at each scrape."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._senseless: set[str] = set()

    def describe(self) -> Iterable[Metric]:
        """Return nothing: a registry would otherwise ask the daemons when the exporter starts."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield what each daemon counts, and which of them answer."""
        documents = self._ask()
        answering: dict[str, Document] = {}
        own: dict[str, list[Metric]] = {}
        for role, document in documents.items():
            if document is not None and (metrics := self._metrics_of(role, document)) is not None:
                answering[role], own[role] = document, metrics
        up = {role: role in answering for role in documents}
        yield _gauges("copytool_up", "Whether the daemon answers on its control socket.", "role", up)
        workers = answering.get("copy", {}).get("workers", [])
        running = sum(worker["state"] == "running" for worker in workers)
        if workers:
            yield _gauge("copytool_workers", "Processes that copy consists of.", len(workers))
            yield _gauge("copytool_running_workers", "Those of them that run and answer.", running)
        if running < len(workers):  # sums without one of them would look like counters that begin anew
            del answering["copy"]
        yield from _of_each(answering)
        for role in answering:
            yield from own[role]

    def _metrics_of(self, role: str, document: Document) -> list[Metric] | None:
        """Return what only this role counts, or None if no metrics can be made of its answer; that is said once."""
        try:
            for worker in document.get("workers", []):
                worker["state"]
            list(_of_each({role: document}))  # made again of all answers together, where roles are labels
            metrics = list(_METRICS[role](document))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            if role not in self._senseless:
                _log.warning(
                    "%s answers what makes no sense here (%s); has it the same version of copytool?", role, error
                )
            self._senseless.add(role)
            return None
        self._senseless.discard(role)
        return metrics


def copy_metrics(status: Document) -> Iterator[Metric]:
    """Yield the metrics of copy's status document."""
    outcomes = dict(status["sessions"]["outcomes"])
    outcomes["midstream_skipped"] += status["sessions"]["joined"]  # joining takes it back, and counters do not go down
    yield _gauge("copytool_active_sessions", "Sessions that are being mirrored.", outcomes.pop("active"))
    yield _counters("copytool_sessions", "Sessions that ended, or were not mirrored, by outcome.", "outcome", outcomes)
    size = status["bytes"]
    fates = {key: size[key] for key in ("accepted", "duplicate", "discarded")}
    fates |= {f"ignored_{reason}": count for reason, count in size["ignored"].items()}
    yield _counters("copytool_captured_bytes", "Octets captured from clients, by what became of them.", "fate", fates)
    yield _counter("copytool_delivered_bytes", "Octets that targets acknowledged.", size["delivered"])
    undelivered = size["undelivered"]
    yield _counters("copytool_undelivered_bytes", "Octets of ended sessions that got lost.", "outcome", undelivered)
    yield _gauge("copytool_buffered_bytes", "Octets that wait for release or acknowledgement.", size["buffered"])
    mirror = status["mirror"]
    turns = {how: mirror[f"turns_{how}"] for how in ("answered", "quiet", "held")}
    yield _counters("copytool_turns", "Requests released, by what they had waited for.", "released", turns)
    yield _counter("copytool_sent_packets", "Packets sent to targets.", mirror["packets_sent"])
    yield _counter("copytool_retransmissions", "Segments sent to targets again.", mirror["retransmissions"])
    yield _counters("copytool_send_errors", "Packets that could not be sent.", "error", status["send"]["errors"])
    dropped = status["packets"]["dropped"]
    yield _counters("copytool_dropped_packets", "Captured packets that were not read.", "reason", dropped)
    yield _histogram("copytool_lag_seconds", "From capture to release to the target.", status["lag"])
    yield _histogram("copytool_answer_seconds", "Until the target begins to answer.", status["answer_time"])
    links = {link["peer"]: link["state"] == "established" for link in status["link"]}
    yield _gauges("copytool_link_up", "Whether the link is established.", "intercept", links)
    steering = status["steering"]
    yield _gauge("copytool_ratio", "Share of new connections that is mirrored.", steering["ratio_percent"] / 100)
    if "admitted_percent" in steering:  # of several workers each has its own
        admitted = steering["admitted_percent"] / 100
        yield _gauge("copytool_admitted_ratio", "Share of these that the budgets admit.", admitted)
    feed = status["feed"]
    if "links" in feed:
        fed = sum(link["state"] == "established" for link in feed["links"])
        yield _gauge("copytool_forwarders", "Hosts whose forward is connected.", fed)
        yield _counter("copytool_feed_lost_packets", "Packets that forward did not send.", feed["lost_packets"])
    if "empty_packets" in feed:
        yield _counter("copytool_feed_empty_packets", "Tunnels' packets with nothing inside.", feed["empty_packets"])
    yield _gauge("copytool_paused", "Whether no new connections are mirrored.", steering["paused"])
    yield _gauge("copytool_unreachable_targets", "Targets without a next hop.", len(status["send"]["unreachable"]))
    yield _gauge("copytool_imbalances", "Sums that do not add up; a defect.", len(status["imbalance"]))
    yield _counter("copytool_cpu_seconds", "Processor time of copy.", status["cpu_s"])
    yield _counter("copytool_sent_bytes", "Octets of IP packets for targets.", mirror["bytes_sent"])
    yield from _budgets(status["budgets"])


def _budgets(budgets: Document) -> Iterator[Metric]:
    """Yield use and limits, in base units; what was shed is among the sessions by outcome."""
    for key, name, what, divisor in (
        ("sessions", "sessions", "Sessions that may be mirrored at a time.", 1),
        ("cpu", "cpu_ratio", "Processor time, in CPUs.", 100),
        ("memory", "memory_bytes", "Resident memory.", 1),
        ("bandwidth", "bandwidth_bytes_per_second", "IP packets to targets.", 8),
    ):
        budget = budgets[key]
        base, _, unit = name.partition("_")
        suffix = f"_{unit}" if unit else ""
        if key != "sessions":  # copytool_active_sessions are these
            yield _gauge(f"copytool_{base}_used{suffix}", f"What copy uses: {what}", budget["used"] / divisor)
        if budget["limit"] is not None:
            yield _gauge(f"copytool_{base}_limit{suffix}", f"What copy may use: {what}", budget["limit"] / divisor)


def intercept_metrics(status: Document) -> Iterator[Metric]:
    """Yield the metrics of intercept's status document."""
    counters = dict(status["responses"])
    yield _counter("copytool_responses", "Packets of targets that were captured.", counters.pop("packets"))
    yield _counter("copytool_response_records", "Records reported to copies.", counters.pop("records"))
    yield _counters(
        "copytool_ignored_responses", "Packets of targets that were not reported, by reason.", "reason", counters
    )
    links = sum(link["state"] == "established" for link in status["link"])  # a copy has another port each time
    yield _gauge("copytool_links", "Copies whose link is established.", links)
    yield _counter("copytool_refused_links", "Connections that were refused.", status["refused_links"])


def forward_metrics(status: Document) -> Iterator[Metric]:
    """Yield the metrics of forward's status document."""
    forwarded = status["forwarded"]
    yield _counter("copytool_forwarded_packets", "Packets that were sent to copy.", forwarded["packets"])
    dropped = forwarded["dropped"]
    yield _counters("copytool_unforwarded_packets", "Captured packets that were not.", "reason", dropped)
    yield _gauge("copytool_forward_waiting_bytes", "Octets that wait for the link.", forwarded["waiting_bytes"])
    links = {link["peer"]: link["state"] == "established" for link in status["link"]}
    yield _gauges("copytool_forward_link_up", "Whether the link to copy is established.", "copy", links)
    yield _counter("copytool_forward_cpu_seconds", "Processor time of forward.", status["cpu_s"])


_METRICS = {"copy": copy_metrics, "intercept": intercept_metrics, "forward": forward_metrics}


def _of_each(documents: Mapping[str, Document]) -> Iterator[Metric]:
    """Yield what all daemons count, with the role as a label."""
    for name, text, key in (
        ("copytool_captured_packets", "Packets that the kernel captured.", "packets"),
        ("copytool_kernel_dropped_packets", "Packets that the kernel dropped: the daemon is too slow.", "drops"),
    ):
        yield _counters(name, text, "role", {role: status["capture"][key] for role, status in documents.items()})
    expiries = {
        role: datetime.fromisoformat(status["certificate"]["not_after"]).timestamp()
        for role, status in documents.items()
        if status.get("certificate")
    }
    text = "Until when the link's certificate is valid, in seconds of Unix time."
    yield _gauges("copytool_certificate_expiry_timestamp_seconds", text, "role", expiries)
    errors = {role: status["internal_errors"] for role, status in documents.items()}
    yield _counters("copytool_internal_errors", "Exceptions that cost a packet or a session.", "role", errors)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=[label]), values)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=[label]), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> Metric:
    for key, value in values.items():
        family.add_metric([plain(key, _MAX_LABEL)], float(value))
    return family


def _histogram(name: str, text: str, histogram: Document) -> Metric:
    buckets = []
    total = 0
    for bound in (f"{bound_s:g}" for bound_s in BOUNDS_S):
        total += histogram["buckets"].get(bound, 0)
        buckets.append((bound, float(total)))
    buckets.append(("+Inf", float(histogram["count"])))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=float(histogram["sum_s"]))
