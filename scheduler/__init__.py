"""Clock: due tasks become runs, expired leases become pending, pending rows become hints."""
