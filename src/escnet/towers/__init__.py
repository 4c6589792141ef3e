"""What several structures share: their towers, and what a network with two towers is."""
