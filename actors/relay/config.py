"""What a relay reads of a run's configuration."""

from common.bus.config import BusConfig
from common.run_config import RoleConfig, RunSection
from common.weights.config import RelayConfig


class RelayRoleConfig(RoleConfig):
    """What `python -m actors.relay` reads; it knows no model and no task."""

    run: RunSection = RunSection()
    bus: BusConfig = BusConfig()
    relay: RelayConfig = RelayConfig()
