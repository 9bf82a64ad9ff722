"""The only boto3: each port of `tidemill.ports` on its AWS service."""
