"""What the compiler did, as text and numbers: stages, remarks, costs, profiles."""
