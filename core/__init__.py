"""Verbs: what the program does, as functions over the nouns."""
