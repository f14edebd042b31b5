"""The arithmetic of monitoring: drift of live events, and how well they are predicted; without metrics and HTTP."""
