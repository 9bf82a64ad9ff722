"""localcloud: a local AWS built on moto that executes what it is given: Lambdas, state machines, SageMaker jobs, endpoints.

It knows nothing of the project it runs; `localcloud.toml` tells it what stands for a container image.
"""

ACCOUNT = "123456789012"
REGION = "us-east-1"
KEY = "localcloud"
