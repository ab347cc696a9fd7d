"""The folder of a run, its checkpoints, and how a run resumes."""
