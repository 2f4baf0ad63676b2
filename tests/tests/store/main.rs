//! The store, above all the one on Redis: its contract, its troubles, its schema and its keys.

mod contract;
mod full;
mod migrate;
mod on_redis;
mod reseal;
mod rollback;
mod topologies;
