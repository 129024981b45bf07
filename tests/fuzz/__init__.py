"""Hostile bytes on every socket of the bus."""
