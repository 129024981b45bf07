"""Actors: they play episodes with an inference engine and never wait for the learner."""
