"""Six stacks: data, image, training, serving, watch over them all, and catalog for those who ask in SQL."""
