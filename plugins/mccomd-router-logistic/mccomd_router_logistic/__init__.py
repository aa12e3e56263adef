"""Which local answers does this user take? A router that learns it from the local history."""
