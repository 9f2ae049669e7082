"""How well and how fast personal data is found: labelled messages of our own making, scores and timings."""
