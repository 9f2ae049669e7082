"""What leaves Crontalk as files: pure, records in, bytes out."""
