"""Five stacks: data, image, training, serving, and watch over them all."""
