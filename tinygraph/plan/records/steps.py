"""What of the planner can be left out: the names that ``compile(without=...)`` accepts."""

# Steps of tinygraph/plan/schedule.py without which a plan is right, but slower or larger.
OPTIONAL = ("absorb", "recompute", "join_siblings", "bundle", "chain", "fetch_ahead")

# No two nodes share a kernel; products are plain loops.
CHOICES = ("fuse", "contract")
