"""Language models behind one small protocol, and what a turn sends to them."""
