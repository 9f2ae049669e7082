"""Hands: the Celery app with one task per verb, and the poll loop that needs no broker."""
