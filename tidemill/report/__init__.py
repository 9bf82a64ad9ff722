"""What a run found and why it ended as it did, on one page that needs nothing beside it."""
