"""Bundled servers and the supervisor behind `crontalk up`."""
