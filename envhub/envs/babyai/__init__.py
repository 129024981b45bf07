"""BabyAI: a room seen through a window of 7 by 7 cells, a goal in plain English; played on `minigrid`."""
