"""The ranks of a job, what they exchange, and sums of the same bits at any number of them."""
