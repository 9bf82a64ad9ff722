"""Whether IAM policies allow a request: policies parsed, conditions tested, a decision with its reason."""
