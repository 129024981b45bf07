"""The learner: takes optimizer steps and never waits for the slowest episode."""
