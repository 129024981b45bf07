"""Tests of the parts that everyone shares."""
