"""Inference engines: one protocol, and one file per engine that keeps it."""
