"""One module a step of the flow: what happens, in terms of the core and of ports. Handlers call these, once."""
