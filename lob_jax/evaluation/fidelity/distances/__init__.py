"""What two flows differ by in one score: distances, intervals, floors of real halves, summaries, blocks by horizon."""
