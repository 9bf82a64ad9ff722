"""Tidemill: drop data into S3; a better model goes live, or nothing changes and you know why."""

__version__ = "0.1.0"
