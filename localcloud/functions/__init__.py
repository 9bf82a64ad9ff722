"""Lambda: functions run as AWS runs them, by awslambdaric over the Runtime API, in warm processes."""
