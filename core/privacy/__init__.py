"""Privacy: personal data is found, replaced and, where wanted, restored. Pure: no database, no network."""
