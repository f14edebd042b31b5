"""How tokens attend to one another: one module a kind, one interface, and what computes them on each platform."""
