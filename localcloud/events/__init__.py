"""EventBridge and SQS in motion: rules deliver to targets, queues feed functions."""
