"""TextCraft: craft a goal item by a tree of recipes; over real Minecraft recipes or over generated ones."""
