//! Decisions: model, snapshot, plan, table, image. Pure.
