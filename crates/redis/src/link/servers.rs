//! Which server something is sent to.
//!
//! There is one server under one name, or the primary that sentinels name, or the primaries of a cluster. Each key lies on one of
//! them. What was certainly not done is sent once more where it belongs; everything else is the caller's to decide.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, Value, from_redis_value,
};
use tokenvault_core::ports::{StoreCause, StoreError};
use tokio::time::sleep;

use super::cluster::ClusterServers;
use super::connector::{Connector, ServerAddress};
use super::era::OnEraEnd;
use super::name::follow_name;
use super::node::Node;
use super::query::{Manner, Query, ScriptCall};
use super::sentinel::SentinelServers;
use super::slot::Slot;
use super::write_link::{Acks, Repeat, Sent};
use crate::config::RedisConfig;
use crate::error::{InvalidRedisConfig, redis_error, unavailable};

/// How often something is sent elsewhere, or once more to a slot that is just being moved.
const MOST_REDIRECTS: usize = 12;
/// For so long a slot whose keys are in two places is left alone.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// The servers that keep what the vault stores.
#[derive(Clone)]
pub(crate) enum Servers {
    /// One, under one name.
    One(Arc<Node>),
    /// The primary that sentinels name.
    Sentinel(Arc<SentinelServers>),
    /// The primaries of a cluster.
    Cluster(Arc<ClusterServers>),
}

/// What an answer says of where it should have been asked for.
enum Redirect {
    /// The slot is kept by another server: nothing was done.
    Moved,
    /// The slot is just being moved there: nothing was done.
    Ask(ServerAddress),
    /// Some of the keys have been moved: nothing was done.
    Wait,
    /// It is an answer.
    No,
}

impl Redirect {
    fn of(error: &RedisError) -> Self {
        let address = || error.redirect_node().and_then(|(address, _)| ServerAddress::parse(address));
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => Self::Moved,
            ErrorKind::Server(ServerErrorKind::Ask) => address().map_or(Self::No, Self::Ask),
            ErrorKind::Server(ServerErrorKind::TryAgain) => Self::Wait,
            _ => Self::No,
        }
    }
}

/// Something that one server is to be asked, over the connections that are for it.
trait Errand<T>: Send + Sync {
    /// Where its keys lie.
    fn slot(&self) -> Slot;

    /// Asks a server.
    fn run(&self, node: &Node, manner: Manner) -> impl Future<Output = Result<RedisResult<T>, StoreError>> + Send;
}

struct Reading<'a>(Query<'a>);

struct Trusting<'a>(&'a Cmd);

struct Writing<'a> {
    query: Query<'a>,
    repeat: Repeat,
    acks: Option<Acks>,
}

impl<T: FromRedisValue + Send> Errand<T> for Reading<'_> {
    fn slot(&self) -> Slot {
        self.0.slot()
    }

    async fn run(&self, node: &Node, manner: Manner) -> Result<RedisResult<T>, StoreError> {
        node.reads.call(self.0, manner).await
    }
}

impl<T: FromRedisValue + Send> Errand<T> for Trusting<'_> {
    fn slot(&self) -> Slot {
        Query::Command(self.0).slot()
    }

    async fn run(&self, node: &Node, manner: Manner) -> Result<RedisResult<T>, StoreError> {
        match manner {
            Manner::Plain => node.reads.call_trusting(self.0).await,
            Manner::Asking => node.reads.call(Query::Command(self.0), manner).await,
        }
    }
}

impl<T: FromRedisValue + Send> Errand<Sent<T>> for Writing<'_> {
    fn slot(&self) -> Slot {
        self.query.slot()
    }

    async fn run(&self, node: &Node, manner: Manner) -> Result<RedisResult<Sent<T>>, StoreError> {
        node.writes.call(self.query, manner, self.repeat, self.acks).await
    }
}

impl Servers {
    pub(crate) fn new(config: &RedisConfig, on_left: Option<OnEraEnd>) -> Result<Self, InvalidRedisConfig> {
        match (&config.sentinel, &config.cluster) {
            (Some(sentinel), None) => SentinelServers::new(config, sentinel, on_left).map(Self::Sentinel),
            (None, Some(cluster)) => ClusterServers::new(config, cluster, on_left).map(Self::Cluster),
            (None, None) => Node::new(Connector::of_url(config)?, config, on_left).map(Self::One),
            (Some(_), Some(_)) => Err(InvalidRedisConfig::Nodes),
        }
    }

    /// Follows, from now on, where the servers are. Ends with the last copy of this. Needs a runtime.
    pub(crate) fn follow(&self) {
        match self {
            Self::One(node) => drop(tokio::spawn(follow_name(Arc::downgrade(&node.reads)))),
            Self::Sentinel(servers) => drop(tokio::spawn(SentinelServers::watch(Arc::downgrade(servers)))),
            Self::Cluster(servers) => drop(tokio::spawn(ClusterServers::watch(Arc::downgrade(servers)))),
        }
    }

    /// All servers, in the order of their addresses.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<Node>>, StoreError> {
        let mut nodes = match self {
            Self::One(node) => vec![Arc::clone(node)],
            Self::Sentinel(servers) => vec![servers.node().await?],
            Self::Cluster(servers) => servers.nodes().await?,
        };
        nodes.sort_by(|a, b| a.address().cmp(b.address()));
        Ok(nodes)
    }

    /// The server that keeps a slot.
    pub(crate) async fn of_slot(&self, slot: Slot) -> Result<Arc<Node>, StoreError> {
        match self {
            Self::One(node) => Ok(Arc::clone(node)),
            Self::Sentinel(servers) => servers.node().await,
            Self::Cluster(servers) => servers.node(slot).await,
        }
    }

    /// Asks for something that changes nothing.
    pub(crate) async fn read<T: FromRedisValue + Send>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.send(Reading(Query::Command(command))).await
    }

    /// The same, of a server that was a primary a moment ago.
    pub(crate) async fn read_trusting<T: FromRedisValue + Send>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.send(Trusting(command)).await
    }

    /// Asks for several things; the answers come in their order.
    pub(crate) async fn read_all<T: FromRedisValue + Send>(&self, commands: &Pipeline) -> Result<Vec<T>, StoreError> {
        if !matches!(self, Self::Cluster(_)) {
            return self.send(Reading(Query::Commands(commands))).await;
        }
        // One packet for each server; what has moved meanwhile is asked for by itself.
        let all: Vec<&Cmd> = commands.cmd_iter().collect();
        let mut answers: Vec<Option<Value>> = vec![None; all.len()];
        let groups = self.by_node(all.iter().map(|command| Query::Command(command).slot())).await?;
        let asked = groups.iter().map(async |(node, places)| {
            let mut part = Pipeline::new();
            for place in places {
                part.add_command(all[*place].clone());
            }
            node.reads.call::<Vec<Value>>(Query::Commands(&part), Manner::Plain).await
        });
        for ((_, places), answered) in groups.iter().zip(join_all(asked).await) {
            if let Ok(Ok(answered)) = answered {
                places.iter().zip(answered).for_each(|(place, answer)| answers[*place] = Some(answer));
            }
        }
        let read = |value| from_redis_value(value).map_err(|_| unavailable(StoreCause::Protocol));
        let mut all_answers = Vec::with_capacity(all.len());
        for (command, answer) in all.into_iter().zip(answers) {
            all_answers.push(match answer {
                Some(answer) => read(answer)?,
                None => self.read(command).await?,
            });
        }
        Ok(all_answers)
    }

    /// Runs several calls of one script, each once at most; the answers come in their order.
    pub(crate) async fn run_each_once(&self, calls: &[ScriptCall<'_>]) -> Vec<Result<Value, StoreError>> {
        let groups = match self.by_node(calls.iter().map(|call| Query::Script(call).slot())).await {
            Ok(groups) => groups,
            Err(error) => return calls.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut answers: Vec<Result<Value, StoreError>> =
            calls.iter().map(|_| Err(unavailable(StoreCause::NoPrimary))).collect();
        let ran = groups.iter().map(async |(node, places)| {
            let part: Vec<&ScriptCall<'_>> = places.iter().map(|place| &calls[*place]).collect();
            node.writes.call::<Vec<Value>>(Query::Scripts(&part), Manner::Plain, Repeat::Never, None).await
        });
        let mut moved = false;
        for ((_, places), ran) in groups.iter().zip(join_all(ran).await) {
            moved |= is_gone(&ran);
            match ran.and_then(|ran| ran.map_err(|error| redis_error(&error))) {
                Err(error) => places.iter().for_each(|place| answers[*place] = Err(error.clone())),
                Ok(sent) => {
                    for (place, answer) in places.iter().zip(sent.answer) {
                        let answer = answer.extract_error();
                        moved |= answer.as_ref().is_err_and(|error| !matches!(Redirect::of(error), Redirect::No));
                        answers[*place] = answer.map_err(|error| redis_error(&error));
                    }
                }
            }
        }
        if moved {
            self.look_again().await;
        }
        answers
    }

    /// The places of slots in a list, by the server that keeps them.
    async fn by_node(&self, slots: impl Iterator<Item = Slot>) -> Result<Vec<(Arc<Node>, Vec<usize>)>, StoreError> {
        let mut groups: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (place, slot) in slots.enumerate() {
            let node = self.of_slot(slot).await?;
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, places)) => places.push(place),
                None => groups.push((node, vec![place])),
            }
        }
        Ok(groups)
    }

    /// Asks one of the servers for several things that lie under no key.
    pub(crate) async fn read_all_of<T: FromRedisValue>(
        &self,
        node: &Node,
        commands: &Pipeline,
    ) -> Result<T, StoreError> {
        let answer = node.reads.call(Query::Commands(commands), Manner::Plain).await;
        if is_gone(&answer) {
            self.look_again().await;
        }
        answer?.map_err(|error| redis_error(&error))
    }

    /// Asks one of the servers, for what lies under no key.
    pub(crate) async fn read_of<T: FromRedisValue>(&self, node: &Node, command: &Cmd) -> Result<T, StoreError> {
        let answer = node.reads.call(Query::Command(command), Manner::Plain).await;
        if is_gone(&answer) {
            self.look_again().await;
        }
        answer?.map_err(|error| redis_error(&error))
    }

    /// Changes something.
    pub(crate) async fn write<T: FromRedisValue + Send>(
        &self,
        query: Query<'_>,
        repeat: Repeat,
        acks: Option<Acks>,
    ) -> Result<Sent<T>, StoreError> {
        self.send(Writing { query, repeat, acks }).await
    }

    /// Sends to the server that keeps a slot, and elsewhere as long as it was certainly not done.
    async fn send<T>(&self, errand: impl Errand<T>) -> Result<T, StoreError> {
        let slot = errand.slot();
        let mut asked_elsewhere = None;
        let mut retried = false;
        for _ in 0..MOST_REDIRECTS {
            let (node, manner) = match asked_elsewhere.take() {
                Some(node) => (node, Manner::Asking),
                None => (self.of_slot(slot).await?, Manner::Plain),
            };
            let answer = errand.run(&node, manner).await;
            let Ok(Err(error)) = &answer else {
                // No connection came about, so nothing was sent: it is, where another server has taken the place.
                if answer.is_err() && !std::mem::replace(&mut retried, true) && self.has_moved(slot, &node).await {
                    continue;
                }
                return answer?.map_err(|error| redis_error(&error));
            };
            match Redirect::of(error) {
                Redirect::Moved => self.look_again().await,
                Redirect::Ask(address) => asked_elsewhere = self.at(&address).ok(),
                Redirect::Wait => sleep(TRY_AGAIN).await,
                Redirect::No => {
                    let not_done = super::query::demoted(error);
                    if is_gone(&answer) {
                        let moved = self.has_moved(slot, &node).await;
                        if moved && not_done && !std::mem::replace(&mut retried, true) {
                            continue;
                        }
                    }
                    return answer?.map_err(|error| redis_error(&error));
                }
            }
        }
        Err(unavailable(StoreCause::Moving))
    }

    /// Looks where the servers are by now, and whether a slot is kept by another one.
    async fn has_moved(&self, slot: Slot, from: &Arc<Node>) -> bool {
        self.look_again().await;
        self.of_slot(slot).await.is_ok_and(|node| !Arc::ptr_eq(&node, from))
    }

    async fn look_again(&self) {
        match self {
            Self::One(_) => {}
            Self::Sentinel(servers) => drop(servers.ask().await),
            Self::Cluster(servers) => drop(servers.read_map().await),
        }
    }

    fn at(&self, address: &ServerAddress) -> Result<Arc<Node>, StoreError> {
        match self {
            Self::One(node) => Ok(Arc::clone(node)),
            Self::Sentinel(_) => Err(unavailable(StoreCause::NoPrimary)),
            Self::Cluster(servers) => servers.node_at(address),
        }
    }
}

/// Whether the server that was asked may not be the one any more.
fn is_gone<T>(answer: &Result<RedisResult<T>, StoreError>) -> bool {
    match answer {
        Err(_) => true,
        Ok(Err(error)) => super::connection::leave_reason(error).is_some() || error.is_io_error(),
        Ok(Ok(_)) => false,
    }
}
