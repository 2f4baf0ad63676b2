//! What the vault keeps from those who mean no good: at its doors, in its store, and on its machine.

mod canary;
mod certificates;
mod hardening;
mod hostile;
mod isolation;
mod parsers;
mod tamper;
mod wrong_key;
