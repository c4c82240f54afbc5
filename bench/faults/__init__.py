"""Measures a server whose clients misbehave."""
