"""What screens are made of; each is given values and draws them."""
