"""evaluate: challenger and champion on the same held-out rows."""
