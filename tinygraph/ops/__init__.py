"""Every operator, one record each; importing this fills the table."""
