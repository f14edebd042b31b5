"""Plant faults in real flow, and test which scores and measures detect them."""
