"""Continue many prompts of a split at once, and score the paths beside what really followed."""
