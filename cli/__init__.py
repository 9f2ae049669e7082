"""The `crontalk` command."""
