//! Something to send, and whether the server that answered may be believed.
//!
//! A server that follows another one (a replica) refuses what would change something, and answers everything else from
//! what it has: too little, or too old. A name can begin to lead there, and a primary that was there can become one with all
//! connections open. So a call carries the question for the server's role (`ROLE`) ahead of it, in the same packet, and
//! what a replica answers is an error: it was asked nothing that it may answer.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    Arg, AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Script,
    ScriptInvocation, ServerErrorKind, ToRedisArgs, Value, from_redis_value,
};

use super::connector::Connector;
use super::era::Eras;
use super::slot::Slot;

/// A script with its keys and arguments.
pub(crate) struct ScriptCall<'a> {
    invocation: ScriptInvocation<'a>,
    slot: Slot,
}

impl ScriptCall<'_> {
    /// Adds a key, which must lie in the same slot as the first.
    pub(crate) fn key(&mut self, key: impl AsRef<str>) -> &mut Self {
        debug_assert_eq!(Slot::of(key.as_ref()), self.slot, "a script finds all its keys on one server");
        self.invocation.key(key.as_ref());
        self
    }

    /// Adds an argument.
    pub(crate) fn arg<T: ToRedisArgs>(&mut self, arg: T) -> &mut Self {
        self.invocation.arg(arg);
        self
    }
}

/// Begins a call of a script with its first key, which says where it is to be sent.
pub(crate) fn call_at(script: &Script, key: impl AsRef<str>) -> ScriptCall<'_> {
    ScriptCall { slot: Slot::of(key.as_ref()), invocation: script.key(key.as_ref()) }
}

/// Something to send.
#[derive(Clone, Copy)]
pub(crate) enum Query<'a> {
    /// A script, by its hash.
    Script(&'a ScriptCall<'a>),
    /// Several calls of one script in one go. Each has an answer of its own, which may be an error.
    Scripts(&'a [&'a ScriptCall<'a>]),
    /// A command.
    Command(&'a Cmd),
    /// Several commands in one go.
    Commands(&'a Pipeline),
}

/// How a server is to take what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As one that keeps the slot.
    Plain,
    /// As one that a slot is just being moved to (`ASKING`).
    Asking,
}

impl Query<'_> {
    /// The slot of the first key.
    pub(super) fn slot(self) -> Slot {
        match self {
            Self::Script(call) => call.slot,
            Self::Scripts(calls) => calls.first().map(|call| call.slot).unwrap_or_default(),
            Self::Command(command) => slot_of(command),
            Self::Commands(commands) => commands.cmd_iter().next().map(slot_of).unwrap_or_default(),
        }
    }

    /// Sends it to a server that takes writes; an error that is [`demoted`] where another one answered.
    pub(super) async fn send<T: FromRedisValue>(
        self,
        connection: &mut impl ConnectionLike,
        manner: Manner,
    ) -> RedisResult<T> {
        if let Self::Scripts(calls) = self {
            return Ok(from_redis_value(Value::Array(ask_scripts(calls, connection).await?))?);
        }
        let answers = self.ask(connection, manner).await;
        let answers = match (answers, self) {
            (Err(error), Self::Script(script)) if unknown(&error) => {
                script.invocation.load_async(connection).await?;
                self.ask(connection, manner).await?
            }
            (answers, _) => answers?,
        };
        let answer = match self {
            Self::Script(_) | Self::Command(_) => answers.into_iter().next().unwrap_or_default(),
            Self::Scripts(_) | Self::Commands(_) => Value::Array(answers),
        };
        Ok(from_redis_value(answer)?)
    }

    /// The answers, without the one about the role.
    async fn ask(self, connection: &mut impl ConnectionLike, manner: Manner) -> RedisResult<Vec<Value>> {
        self.ask_each(connection, manner).await?.into_iter().map(Value::extract_error).collect()
    }

    /// The same, with an error where a single one was refused.
    async fn ask_each(self, connection: &mut impl ConnectionLike, manner: Manner) -> RedisResult<Vec<Value>> {
        let mut all = redis::pipe();
        all.add_command(role());
        if manner == Manner::Asking {
            all.add_command(redis::cmd("ASKING"));
        }
        match self {
            Self::Script(call) => _ = all.invoke_script(&call.invocation),
            Self::Scripts(calls) => calls.iter().for_each(|call| _ = all.invoke_script(&call.invocation)),
            Self::Command(command) => _ = all.add_command(command.clone()),
            Self::Commands(commands) => commands.cmd_iter().for_each(|command| _ = all.add_command(command.clone())),
        }
        let mut answers = connection.req_packed_commands(&all, 0, all.len()).await?.into_iter();
        if answers.next().is_some_and(|role| follows(&role)) {
            return Err(error_of_replica());
        }
        if manner == Manner::Asking {
            answers.next().map(Value::extract_error).transpose()?;
        }
        Ok(answers.collect())
    }
}

/// The answers to several calls of one script. Only those are made again that the server did not know the script of.
async fn ask_scripts(calls: &[&ScriptCall<'_>], connection: &mut impl ConnectionLike) -> RedisResult<Vec<Value>> {
    let mut answers = Query::Scripts(calls).ask_each(connection, Manner::Plain).await?;
    let failed = |answer: &Value| match answer {
        Value::ServerError(_) => answer.clone().extract_error().err(),
        _ => None,
    };
    if let Some(error) = answers.iter().filter_map(failed).find(demoted) {
        return Err(error);
    }
    for (call, answer) in calls.iter().zip(&mut answers) {
        if failed(answer).as_ref().is_some_and(unknown) {
            call.invocation.load_async(connection).await?;
            let again = Query::Script(call).ask_each(connection, Manner::Plain).await?;
            *answer = again.into_iter().next().unwrap_or_default();
        }
    }
    Ok(answers)
}

/// Whether the server does not have the script.
fn unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// The slot of a command's first key.
fn slot_of(command: &Cmd) -> Slot {
    let key = command.args_iter().nth(1);
    match key {
        Some(Arg::Simple(key)) => Slot::of_bytes(key),
        _ => Slot::default(),
    }
}

/// Sends a command to a server that was just found to take writes, without asking it once more whether it does.
pub(super) async fn send_trusting<T: FromRedisValue>(
    command: &Cmd,
    connection: &mut impl ConnectionLike,
) -> RedisResult<T> {
    let answer = connection.req_packed_command(command).await?.extract_error()?;
    Ok(from_redis_value(answer)?)
}

/// A new connection to a server that takes writes.
pub(super) async fn connect(
    connector: &Connector,
    config: &AsyncConnectionConfig,
    eras: &Eras,
) -> RedisResult<MultiplexedConnection> {
    if eras.replica_seen_lately() {
        return Err(error_of_replica());
    }
    let mut connection = connector.client().await?.get_multiplexed_async_connection_with_config(config).await?;
    let mut all = redis::pipe();
    all.add_command(role());
    let answer = connection.req_packed_commands(&all, 0, all.len()).await?;
    if answer.first().is_some_and(follows) {
        eras.note_replica();
        return Err(error_of_replica());
    }
    Ok(connection)
}

/// Whether the server that answered takes no writes: nothing was done, and it must not be asked again.
pub(crate) fn demoted(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

fn role() -> Cmd {
    redis::cmd("ROLE")
}

/// A server that does not tell (a proxy, a user without the right) is taken for one that takes writes: it says so itself
/// with the first write that it refuses.
fn follows(role: &Value) -> bool {
    let Value::Array(role) = role else { return false };
    match role.first() {
        Some(Value::BulkString(name)) => name == b"slave",
        Some(Value::SimpleString(name)) => name == "slave",
        _ => false,
    }
}

fn error_of_replica() -> RedisError {
    (ErrorKind::Server(ServerErrorKind::ReadOnly), "the server follows another one").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(role: &str) -> Value {
        Value::Array(vec![Value::BulkString(role.as_bytes().to_vec()), Value::Int(7)])
    }

    #[test]
    fn only_a_server_that_says_that_it_follows_another_is_left() {
        assert!(follows(&answer("slave")));
        assert!(!follows(&answer("master")));
        assert!(!follows(&Value::Nil), "a proxy that tells nothing");
    }

    #[test]
    fn what_a_replica_answers_is_told_from_what_a_primary_refuses() {
        assert!(demoted(&error_of_replica()));
        assert!(!demoted(&(ErrorKind::Server(ServerErrorKind::NoPerm), "no").into()));
    }
}
