"""How localcloud's own services publish their metrics: straight into the store, as AWS's services do."""

from collections.abc import Iterable, Mapping

from localcloud.clock import Clock
from localcloud.cloudwatch.metrics import MetricKey, MetricStore


class Meter:
    def __init__(self, store: MetricStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def __call__(self, namespace: str, dimensions: Mapping[str, str], values: Iterable[tuple[str, float, str]]) -> None:
        """Publish (name, value, unit) triples now."""
        for name, value, unit in values:
            key = MetricKey(namespace, name, tuple(sorted(dimensions.items())))
            self._store.put(key, self._clock.now(), [value], [1.0], unit)
