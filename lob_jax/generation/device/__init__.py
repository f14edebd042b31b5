"""What runs on the device for each path: the live book, the masks, the draw."""
