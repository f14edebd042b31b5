"""What the training split looked like and how well the model predicted: what live events are compared with."""
