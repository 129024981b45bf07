"""AgentGym both ways: the hub speaks its servers' dialects, and plays what its servers serve."""
