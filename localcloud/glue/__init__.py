"""AWS Glue's jobs: definitions, and runs as real processes on local Spark. Databases and tables are moto's."""
