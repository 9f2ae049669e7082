"""Placeholders: what stands where personal data stood. One grammar, so that a detector leaves them alone.

<EMAIL_ADDRESS>  <EMAIL_ADDRESS_2>      replaced
<PHONE_NUMBER:hx4k2m7q3w5t6y2a>         hashed: 80 bits in base32, lower case
[email:a7x2b]                           tokenised; longer where two would be the same
"""

from __future__ import annotations

import re

TOKEN = r"\[[a-z][a-z0-9_]{1,30}:[a-z2-7]{5,26}\]"  # noqa: S105 (a pattern)
REPLACED = r"<[A-Z][A-Z0-9_]{1,40}(?::[a-z2-7]{16})?>"
TOKENS = re.compile(TOKEN)
PLACEHOLDERS = re.compile(f"{TOKEN}|{REPLACED}")
# The longest a token can be: what a stream holds back at most.
LONGEST_TOKEN = 60
