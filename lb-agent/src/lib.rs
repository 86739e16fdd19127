//! The agent: shell around the decisions, and the one binary lb-agent.
