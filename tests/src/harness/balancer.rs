//! A TCP balancer in front of replicas, as most are: it takes turns among those whose `/readyz` says yes, and what it has seen there
//! it acts upon some time later.
//!
//! It must never help: a connection that was given to a replica which is not there is over, and nobody else is tried.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Result;
use super::vault::Replica;

/// Between two looks at a replica.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A replica that takes longer to say whether it is ready is not.
const PATIENCE: Duration = Duration::from_secs(1);

struct Backend {
    /// Where connections go, `host:port`.
    address: String,
    ready_url: String,
    in_use: AtomicBool,
}

/// A running balancer; its connections end with it.
pub struct Balancer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Balancer {
    /// In front of these replicas, which are ready. What it sees it acts upon so much later.
    pub async fn before(replicas: &[Replica], lag: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let backend = |replica: &Replica| {
            Arc::new(Backend {
                address: replica.url().trim_start_matches("https://").to_owned(),
                ready_url: format!("{}/readyz", replica.management_url()),
                in_use: AtomicBool::new(true),
            })
        };
        let backends: Vec<_> = replicas.iter().map(backend).collect();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let mut tasks = JoinSet::new();
        for backend in &backends {
            tasks.spawn(look(Arc::clone(backend), http.clone(), lag));
        }
        tasks.spawn(accept(listener, backends));
        Ok(Self { address, _tasks: tasks })
    }

    /// Where modules call.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

async fn look(backend: Arc<Backend>, http: reqwest::Client, lag: Duration) {
    let mut seen = VecDeque::new();
    loop {
        let answer = http.get(&backend.ready_url).send().await;
        seen.push_back((Instant::now(), answer.is_ok_and(|answer| answer.status().is_success())));
        while let Some((_, ready)) = seen.pop_front_if(|(at, _)| at.elapsed() >= lag) {
            backend.in_use.store(ready, Ordering::SeqCst);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn accept(listener: TcpListener, backends: Vec<Arc<Backend>>) {
    let turn = AtomicUsize::new(0);
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        let in_use: Vec<_> = backends.iter().filter(|backend| backend.in_use.load(Ordering::SeqCst)).collect();
        // Where none is left the client's connection is closed, as everywhere.
        let Some(backend) = in_use.get(turn % in_use.len().max(1)).map(|backend| backend.address.clone()) else {
            continue;
        };
        connections.spawn(carry(client, backend));
    }
}

async fn carry(mut client: TcpStream, backend: String) {
    let Ok(mut server) = TcpStream::connect(backend).await else {
        drop(client.set_zero_linger()); // closed by RST, as where nobody listens
        return;
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    drop(copy_bidirectional(&mut client, &mut server).await);
}
