"""A number that changes in simulated time, and its mean over it."""

from collections.abc import Callable


class Gauge:
    """Time-weighted mean of a value since the last `restart`.

    gauge = Gauge(lambda: env.now)
    gauge.set(3); ...; gauge.mean()
    """

    def __init__(self, clock: Callable[[], float], value: float = 0.0) -> None:
        self.value = value
        self._clock = clock
        self._since = self._changed = clock()
        self._area = 0.0

    def set(self, value: float) -> None:
        """The value from now on."""
        now = self._clock()
        self._area += self.value * (now - self._changed)
        self._changed, self.value = now, value

    def add(self, change: float) -> None:
        """Change the value from now on."""
        self.set(self.value + change)

    def restart(self) -> None:
        """Forget what was; the value stays."""
        self._since = self._changed = self._clock()
        self._area = 0.0

    @property
    def area(self) -> float:
        """The integral of the value over time since the restart."""
        return self._area + self.value * (self._clock() - self._changed)

    def mean(self) -> float:
        """Since the restart; the present value when no time has passed."""
        elapsed = self._clock() - self._since
        return self.area / elapsed if elapsed else self.value
