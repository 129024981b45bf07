"""A number that changes in simulated time, and its mean over it."""

import simpy


class Gauge:
    """Time-weighted mean of a value since the last `restart`.

    gauge = Gauge(env)
    gauge.set(3); ...; gauge.mean()
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._value = 0.0
        self.restart()

    def restart(self) -> None:
        """Forget what was; the value stays."""
        self._since = self._changed = self._env.now
        self._area = 0.0

    def set(self, value: float) -> None:
        """The value from now on."""
        self._area, self._changed, self._value = self.area, self._env.now, value

    def add(self, change: float) -> None:
        """Change the value from now on."""
        self.set(self._value + change)

    @property
    def area(self) -> float:
        """The integral of the value over time since the restart."""
        return self._area + self._value * (self._env.now - self._changed)

    def mean(self) -> float:
        """Since the restart; the present value when no time has passed."""
        elapsed = self._env.now - self._since
        return self.area / elapsed if elapsed else self._value
