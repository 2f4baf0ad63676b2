//! The listener as clients meet it, over real sockets.

mod certificates;
mod connections;
mod files;
mod handshakes;
mod stage;
