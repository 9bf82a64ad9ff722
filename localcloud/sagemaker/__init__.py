"""SageMaker: jobs as real processes on an /opt/ml tree, endpoints as real servers, the model registry."""
