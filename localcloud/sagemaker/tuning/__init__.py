"""Hyperparameter tuning jobs: what is searched, which training job is tried next, which is stopped early, and the best of them."""
