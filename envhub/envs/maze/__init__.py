"""Mazes told in words: LMRL-Gym's fixed one, generated ones, and grids from a file."""
