"""The hub's counters as Prometheus reads them: every digit, and what each one means."""

from envhub.metrics import HubMetrics


def rendered(metrics: HubMetrics, sessions: int = 0) -> list[str]:
    lost = {"maze": 12_345_678}
    return metrics.render(
        sessions={"maze": sessions}, num_workers=1, lost_workers=lost, num_connections=1
    ).splitlines()


def test_counters_keep_every_digit() -> None:
    metrics = HubMetrics()
    metrics.step_answered("maze", 1234567.25)
    metrics.step_answered("maze", 0.001953125)
    lines = rendered(metrics, 1_000_001)
    assert 'pronghorn_hub_sessions{environment="maze"} 1000001' in lines
    assert 'pronghorn_hub_workers_lost_total{environment="maze"} 12345678' in lines
    assert 'pronghorn_hub_step_seconds_sum{environment="maze"} 1234567.251953125' in lines
    assert 'pronghorn_hub_step_seconds_count{environment="maze"} 2' in lines


def test_every_metric_says_what_it_counts() -> None:
    metrics = HubMetrics()
    metrics.session_opened("maze")
    metrics.session_expired("maze")
    metrics.session_faulted("maze", "worker_died")
    metrics.refused("worker_died")
    metrics.step_answered("maze", 0.5)
    lines = rendered(metrics)
    typed = [index for index, line in enumerate(lines) if line.startswith("# TYPE ")]
    assert len(typed) == 9
    for index in typed:
        name = lines[index].split()[2]
        assert lines[index - 1].startswith(f"# HELP {name} ")
        assert len(lines[index - 1].split()) > 4
        assert lines[index + 1].startswith(name)
