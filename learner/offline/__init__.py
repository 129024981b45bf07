"""Trainers that need no actors: they learn from recorded trajectories."""
