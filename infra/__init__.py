"""The stacks, in CDK. Everything that runs in the cloud or on localcloud comes from here."""
