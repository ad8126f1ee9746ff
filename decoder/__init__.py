"""Frames to records: DBCs, tables, kernels, sampler. Shared by the agent, replay_logs and `collector import`."""
