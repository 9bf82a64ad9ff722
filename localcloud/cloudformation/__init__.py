"""CloudFormation: an engine of our own over public API calls. What it does not know, it refuses before touching anything."""
