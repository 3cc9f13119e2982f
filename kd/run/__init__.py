"""The pipeline between the stages: configuration, machine, runner, control."""
