"""Crontalk beside others: schedulers under one load and under kill -9, and detectors of personal data."""
