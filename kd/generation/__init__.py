"""The stage that turns prompts into a data set and a teacher signal."""
