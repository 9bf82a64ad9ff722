"""CloudWatch's arithmetic as plain functions: metrics, metric math, alarm states, embedded metrics, metric filters."""
