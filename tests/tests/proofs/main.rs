//! No job is lost: the decisions explored, simulated, stormed, cut off in the middle of an answer, and played through as the
//! imports that this service was made for.

mod imports;
mod lost_answer;
mod model;
mod simulation;
mod spike;
mod storm;
