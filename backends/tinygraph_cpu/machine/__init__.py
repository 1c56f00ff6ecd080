"""The processor: its features, and object code in memory."""
