"""ALFWorld: household tasks as text, over real floor plans and games that are generated from them."""
