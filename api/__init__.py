"""Doors: HTTP for programs and people."""
