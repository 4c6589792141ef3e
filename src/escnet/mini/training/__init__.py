"""How the built-in model is trained: the stages that the one loop runs for it."""
