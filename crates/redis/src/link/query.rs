//! Something to send, and whether the server that answered may be believed.
//!
//! A server that follows another one (a replica) refuses what would change something, and answers everything else from
//! what it has: too little, or too old. A name can begin to lead there, and a primary that was there can become one with all
//! connections open. So a call carries the question for the server's role (`ROLE`) ahead of it, in the same packet, and
//! what a replica answers is an error: it was asked nothing that it may answer.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ScriptInvocation,
    ServerErrorKind, Value, from_redis_value,
};

use super::era::Eras;

/// Something to send.
#[derive(Clone, Copy)]
pub(crate) enum Query<'a> {
    /// A script, by its hash.
    Script(&'a ScriptInvocation<'a>),
    /// Several calls of one script in one go. Each has an answer of its own, which may be an error.
    Scripts(&'a [ScriptInvocation<'a>]),
    /// A command.
    Command(&'a Cmd),
    /// Several commands in one go.
    Commands(&'a Pipeline),
}

impl Query<'_> {
    /// Sends it to a server that takes writes; an error that is [`demoted`] where another one answered.
    pub(super) async fn send<T: FromRedisValue>(self, connection: &mut impl ConnectionLike) -> RedisResult<T> {
        if let Self::Scripts(calls) = self {
            return Ok(from_redis_value(Value::Array(ask_scripts(calls, connection).await?))?);
        }
        let answers = self.ask(connection).await;
        let answers = match (answers, self) {
            (Err(error), Self::Script(script)) if unknown(&error) => {
                script.load_async(connection).await?;
                self.ask(connection).await?
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
    async fn ask(self, connection: &mut impl ConnectionLike) -> RedisResult<Vec<Value>> {
        self.ask_each(connection).await?.into_iter().map(Value::extract_error).collect()
    }

    /// The same, with an error where a single one was refused.
    async fn ask_each(self, connection: &mut impl ConnectionLike) -> RedisResult<Vec<Value>> {
        let mut all = redis::pipe();
        all.add_command(role());
        match self {
            Self::Script(script) => _ = all.invoke_script(script),
            Self::Scripts(calls) => calls.iter().for_each(|call| _ = all.invoke_script(call)),
            Self::Command(command) => _ = all.add_command(command.clone()),
            Self::Commands(commands) => commands.cmd_iter().for_each(|command| _ = all.add_command(command.clone())),
        }
        let mut answers = connection.req_packed_commands(&all, 0, all.len()).await?.into_iter();
        if answers.next().is_some_and(|role| follows(&role)) {
            return Err(error_of_replica());
        }
        Ok(answers.collect())
    }
}

/// The answers to several calls of one script. Only those are made again that the server did not know the script of.
async fn ask_scripts(calls: &[ScriptInvocation<'_>], connection: &mut impl ConnectionLike) -> RedisResult<Vec<Value>> {
    let mut answers = Query::Scripts(calls).ask_each(connection).await?;
    let failed = |answer: &Value| match answer {
        Value::ServerError(_) => answer.clone().extract_error().err(),
        _ => None,
    };
    if let Some(error) = answers.iter().filter_map(failed).find(demoted) {
        return Err(error);
    }
    for (call, answer) in calls.iter().zip(&mut answers) {
        if failed(answer).as_ref().is_some_and(unknown) {
            call.load_async(connection).await?;
            let again = Query::Script(call).ask_each(connection).await?;
            *answer = again.into_iter().next().unwrap_or_default();
        }
    }
    Ok(answers)
}

/// Whether the server does not have the script.
fn unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// A new connection to a server that takes writes.
pub(super) async fn connect(
    client: &Client,
    config: &AsyncConnectionConfig,
    eras: &Eras,
) -> RedisResult<MultiplexedConnection> {
    if eras.replica_seen_lately() {
        return Err(error_of_replica());
    }
    let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
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
