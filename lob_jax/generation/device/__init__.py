"""The part of generation that runs on the device for each path: live book, masks, sampling."""
