"""`tidemill`: the command line."""
