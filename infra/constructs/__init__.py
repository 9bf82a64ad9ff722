"""Building blocks; the stacks compose them."""
