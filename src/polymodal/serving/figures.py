"""What a server measures of itself, in the format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Figures:
    """Requests by route and status, their latency, rows and seconds of batches, rows that wait."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "polymodal_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self._latency = Histogram(
            "polymodal_request_seconds", "Seconds of a request", ["route"], registry=self.registry
        )
        self._rows = Histogram(
            "polymodal_batch_rows", "Rows of a batch", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self._seconds = Histogram("polymodal_batch_seconds", "Seconds of a batch", registry=self.registry)
        self._waiting = Gauge("polymodal_waiting_rows", "Rows that wait", ["model"], registry=self.registry)

    def seen(self, route: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(route, status).inc()
        self._latency.labels(route).observe(seconds)

    def sampled(self, rows: int, seconds: float) -> None:
        """Counts a batch."""
        self._rows.observe(rows)
        self._seconds.observe(seconds)

    def page(self, waiting: dict[str, int]) -> bytes:
        """All figures as text; ``waiting`` by model."""
        for name, rows in waiting.items():
            self._waiting.labels(name).set(rows)
        return generate_latest(self.registry)
