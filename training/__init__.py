"""The container: one image, three commands. The raw SageMaker contract on an /opt/ml tree."""
