//! A TCP proxy that stands between the vault and Keycloak or Redis and spoils chosen answers.
//!
//! It knows no protocol beyond this: what comes up after an answer is a new request. It must never change a byte, only
//! withhold or repeat it, so that whatever goes wrong could go wrong on a real network.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::Result;

/// Enough of a request to recognise it by.
const REQUEST_KEPT: usize = 64 * 1024;

/// How long the other side may take to answer a copy.
const COPY_PATIENCE: Duration = Duration::from_secs(10);

/// What is done to a request or its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Connections are reset, the ones that stand as soon as they are used.
    Refuse,
    /// The connection is closed before the whole request has reached the other side.
    DropRequest,
    /// The other side gets the request; the first so many bytes of its answer come through, then the connection is closed.
    CutAnswerAfter(usize),
    /// The same, but the connection is reset.
    ResetAnswerAfter(usize),
    /// The other side gets the request; its answer never comes.
    SwallowAnswer,
    /// The answer comes so much later.
    Delay(Duration),
    /// The request passes, and so much later comes up once more, on a connection of its own. The copy's answer goes
    /// nowhere; see [`Proxy::copies`].
    Duplicate(Duration),
}

impl Fault {
    fn hits_request(self) -> bool {
        matches!(self, Self::Refuse | Self::DropRequest | Self::Duplicate(_))
    }
}

#[derive(Debug, Clone, Default)]
struct Plan {
    /// Strikes every request.
    always: Option<Fault>,
    /// Strike one request each, in this order.
    next: VecDeque<Fault>,
    /// Strikes only requests that contain this.
    only: Option<String>,
}

impl Plan {
    fn due(&self) -> Option<Fault> {
        self.next.front().copied().or(self.always)
    }
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Plan>,
    connections: AtomicUsize,
    requests: AtomicUsize,
    struck: AtomicUsize,
    answer: AtomicUsize,
    /// How the answers to copies began.
    copies: Arc<Mutex<Vec<String>>>,
    copying: Mutex<JoinSet<()>>,
    /// Where new connections lead.
    upstream: Mutex<String>,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        held(&self.plan)
    }

    /// The fault for this request, if one is due at this point of it; counts it as struck.
    fn strike(&self, request: &[u8], at_request: bool) -> Option<Fault> {
        let mut plan = self.plan();
        let fault = plan.due().filter(|fault| fault.hits_request() == at_request)?;
        if plan.only.as_ref().is_some_and(|text| !contains(request, text.as_bytes())) {
            return None;
        }
        plan.next.pop_front();
        self.struck.fetch_add(1, Ordering::SeqCst);
        Some(fault)
    }

    /// Begins a copy of a request; what is sent into it follows.
    fn copy(&self, upstream: &str, after: Duration) -> UnboundedSender<Vec<u8>> {
        let (sender, parts) = unbounded_channel();
        let delivery = deliver(upstream.to_owned(), after, parts, self.copies.clone());
        held(&self.copying).spawn(delivery);
        sender
    }
}

/// A running proxy; its connections end with it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    hang_up: watch::Sender<()>,
    freeze: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to `upstream` (`host:port`) on a free loopback port, which passes everything on at first.
    pub async fn to(upstream: impl Into<String>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { upstream: Mutex::new(upstream.into()), ..Shared::default() });
        let (hang_up, listening) = watch::channel(());
        let (freeze, frozen) = watch::channel(());
        let accepting = tokio::spawn(accept(listener, shared.clone(), (listening, frozen)));
        Ok(Self { address, shared, hang_up, freeze, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address with a scheme: `proxy.url("redis")` is `redis://127.0.0.1:PORT`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// From now on, every request meets `fault`.
    pub fn set(&self, fault: Fault) {
        *self.shared.plan() = Plan { always: Some(fault), ..Plan::default() };
    }

    /// The next `times` requests that contain `text` (empty: any) meet `fault`, the ones after them pass.
    pub fn strike(&self, fault: Fault, times: usize, text: &str) {
        self.strike_each(std::iter::repeat_n(fault, times), text);
    }

    /// Each next request that contains `text` (empty: any) meets the next one of `faults`; once they are used up, all pass.
    pub fn strike_each(&self, faults: impl IntoIterator<Item = Fault>, text: &str) {
        let only = (!text.is_empty()).then(|| text.to_owned());
        *self.shared.plan() = Plan { always: None, next: faults.into_iter().collect(), only };
    }

    /// Everything passes again.
    pub fn clear(&self) {
        *self.shared.plan() = Plan::default();
    }

    /// Closes all connections that stand.
    pub fn hang_up(&self) {
        self.hang_up.send_replace(());
    }

    /// Freezes the connections that stand: from now on they take whatever comes, from either side, and pass nothing on. They
    /// are not closed. New ones are not concerned.
    pub fn freeze(&self) {
        self.freeze.send_replace(());
    }

    /// New connections lead elsewhere from now on; the ones that stand lead on to where they led.
    pub fn lead_to(&self, upstream: impl Into<String>) {
        *held(&self.shared.upstream) = upstream.into();
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many requests came up. Requests sent ahead of an answer count as one with it.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many requests met a fault.
    pub fn struck(&self) -> usize {
        self.shared.struck.load(Ordering::SeqCst)
    }

    /// How many bytes the last answer has had so far, whatever of it came through.
    pub fn last_answer(&self) -> usize {
        self.shared.answer.load(Ordering::SeqCst)
    }

    /// The first lines of the answers to copies, as they came.
    pub fn copies(&self) -> Vec<String> {
        held(&self.shared.copies).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    (hang_up, frozen): (watch::Receiver<()>, watch::Receiver<()>),
) {
    let mut connections = JoinSet::new(); // dropped with this task, and every connection with it
    while let Ok((client, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let (upstream, shared) = (held(&shared.upstream).clone(), shared.clone());
        let (mut hang_up, mut frozen) = (hang_up.clone(), frozen.clone());
        hang_up.mark_unchanged();
        frozen.mark_unchanged();
        connections.spawn(async move {
            tokio::select! {
                () = connection(client, &upstream, &shared, &frozen) => {}
                _ = hang_up.changed() => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// What is known of the request under way on one connection.
#[derive(Default)]
struct Exchange {
    request: Vec<u8>,
    answered: usize,
    fault: Option<Fault>,
}

async fn connection(client: TcpStream, upstream: &str, shared: &Shared, frozen: &watch::Receiver<()>) {
    let refused = shared.plan().due() == Some(Fault::Refuse) && shared.strike(b"", true).is_some();
    if refused {
        drop(client.set_zero_linger()); // closed by RST, as where nobody listens
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let exchange = Mutex::new(Exchange::default());
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = carry_up(from_client, to_server, &exchange, (upstream, shared, frozen)) => {}
        () = carry_down(from_server, to_client, &exchange, (shared, frozen)) => {}
    }
}

async fn carry_up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    exchange: &Mutex<Exchange>,
    (upstream, shared, frozen): (&str, &Shared, &watch::Receiver<()>),
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut copy = None;
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if is_frozen(frozen) {
            continue;
        }
        let part = &buffer[..read];
        let (fault, request) = {
            let mut exchange = held(exchange);
            if exchange.answered > 0 || exchange.request.is_empty() {
                *exchange = Exchange::default();
                shared.requests.fetch_add(1, Ordering::SeqCst);
                copy = None;
            }
            let room = REQUEST_KEPT.saturating_sub(exchange.request.len());
            exchange.request.extend_from_slice(&part[..read.min(room)]);
            (shared.strike(&exchange.request, true), exchange.request.clone())
        };
        match fault {
            Some(Fault::Duplicate(after)) => drop(copy.insert(shared.copy(upstream, after)).send(request)),
            Some(_) => return,
            None => drop(copy.as_ref().map(|copy| copy.send(part.to_vec()))),
        }
        if to.write_all(part).await.is_err() {
            return;
        }
    }
}

async fn carry_down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    exchange: &Mutex<Exchange>,
    (shared, frozen): (&Shared, &watch::Receiver<()>),
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            // A frozen connection is not closed, whatever becomes of the other side.
            Ok(0) | Err(_) if is_frozen(frozen) => return std::future::pending().await,
            Ok(_) if is_frozen(frozen) => continue,
            Ok(read @ 1..) => read,
            Ok(_) | Err(_) => return,
        };
        let (fault, before) = {
            let mut exchange = held(exchange);
            let before = exchange.answered;
            if before == 0 {
                exchange.fault = shared.strike(&exchange.request, false);
            }
            exchange.answered += read;
            shared.answer.store(exchange.answered, Ordering::SeqCst);
            (exchange.fault, before)
        };
        let passes = match fault {
            Some(Fault::CutAnswerAfter(bytes) | Fault::ResetAnswerAfter(bytes)) => {
                read.min(bytes.saturating_sub(before))
            }
            Some(Fault::SwallowAnswer) => continue,
            Some(Fault::Delay(by)) if before == 0 => {
                tokio::time::sleep(by).await;
                read
            }
            _ => read,
        };
        let written = to.write_all(&buffer[..passes]).await;
        match fault {
            Some(Fault::CutAnswerAfter(bytes)) if before + read >= bytes => return,
            Some(Fault::ResetAnswerAfter(bytes)) if before + read >= bytes => {
                drop(to.as_ref().set_zero_linger());
                return to.forget(); // a drop would say goodbye first
            }
            _ if written.is_err() => return,
            _ => {}
        }
    }
}

fn is_frozen(frozen: &watch::Receiver<()>) -> bool {
    // Where the proxy is gone, so are its connections.
    frozen.has_changed().unwrap_or(true)
}

/// Sends a copy of a request on a connection of its own and notes how its answer begins.
async fn deliver(
    upstream: String,
    after: Duration,
    mut parts: UnboundedReceiver<Vec<u8>>,
    answers: Arc<Mutex<Vec<String>>>,
) {
    tokio::time::sleep(after).await;
    let Ok(mut stream) = TcpStream::connect(upstream).await else { return };
    let mut answer = Vec::new();
    let exchange = async {
        while !contains(&answer, b"\n") {
            let mut buffer = [0; 4096];
            tokio::select! {
                Some(part) = parts.recv() => stream.write_all(&part).await?,
                read = stream.read(&mut buffer) => match read? {
                    0 => break,
                    read => answer.extend_from_slice(&buffer[..read]),
                },
            }
        }
        std::io::Result::Ok(())
    };
    drop(tokio::time::timeout(COPY_PATIENCE, exchange).await);
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    held(&answers).push(line);
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
