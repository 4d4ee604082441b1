"""The `gateway` section of `type: http`: what the description of a provider may hold, and the known providers."""
