"""Export the fields of `evodevo status` as Prometheus gauges, at Dask's `/metrics`."""

from collections.abc import Iterator
from typing import Any

from evodevo.service.views import Views

STATES = ("running", "waiting", "done", "failed", "cancelled", "interrupted")
GAUGES = {
    "generation": ("generation", "Complete generations"),
    "generations": ("generations", "Total generations of the run"),
    "members_done": ("members_done", "Members with an outcome in the current generation"),
    "population": ("population", "Members per generation"),
    "best_fom": ("best_fom", "Best figure of merit of the whole run"),
    "median_fom": ("median_fom", "Median figure of merit of the last generation with outcomes"),
    "failed": ("failed_members", "Members that failed"),
    "diverged": ("diverged_members", "Members whose objective was NaN or infinite"),
    "lost_attempts": ("lost_attempts", "Lost attempts"),
    "elapsed_s": ("elapsed_seconds", "Seconds during which a controller was at work"),
    "workers": ("workers", "Workers that the run can use"),
    "unused_workers": ("unused_workers", "Connected workers that get no work from the run"),
}
"""Field of `view.Status` -> name of its gauge, after `evodevo_run_`, and help text."""


class RunMetrics:
    """A collector for `prometheus_client`; each scrape returns the latest `Views.look`."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def install(self) -> bool:
        """Register the collector; return False if `prometheus_client` is not installed."""
        try:
            from prometheus_client import REGISTRY
        except ImportError:
            return False
        REGISTRY.register(self)
        return True

    def remove(self) -> None:
        from prometheus_client import REGISTRY

        REGISTRY.unregister(self)

    def describe(self) -> list[Any]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        statuses = self._views.look().statuses.values()
        states = GaugeMetricFamily("evodevo_run_state", "1 for the state of a run", labels=["run", "state"])
        for status in statuses:
            for state in STATES:
                states.add_metric([status.name, state], status.state == state)
        yield states
        for field, (name, help_text) in GAUGES.items():
            gauge = GaugeMetricFamily(f"evodevo_run_{name}", help_text, labels=["run"])
            for status in statuses:
                value = getattr(status, field)
                if value is not None:
                    gauge.add_metric([status.name], value)
            yield gauge
