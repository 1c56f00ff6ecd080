"""Running launches: the native driver, its table, the threads."""
