"""The stage that trains a student on a data set and a teacher signal."""
