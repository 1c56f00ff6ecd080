"""The embedded data sets, and readers of files and pictures."""
