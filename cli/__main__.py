"""`python -m cli` is `crontalk`."""

from cli.main import main

main()
