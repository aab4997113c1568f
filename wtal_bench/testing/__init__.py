"""Public test tools: the contract every component must obey."""
