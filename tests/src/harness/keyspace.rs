//! Everything a Redis holds, as raw bytes: to tell whether something was written, and whether it can be read.

use std::collections::BTreeMap;

use redis::Value;
use redis::aio::MultiplexedConnection;

use super::Result;
use super::redis::Redis;

/// Every key with its contents: fields, members, values, and the serialised form.
#[derive(Debug, Clone)]
pub struct Keyspace(pub BTreeMap<Vec<u8>, Vec<Vec<u8>>>);

/// Its contents are the same. The serialised form, the last of each key's parts, shows the order in which a server keeps fields and
/// members, which changes by itself.
impl PartialEq for Keyspace {
    fn eq(&self, other: &Self) -> bool {
        let contents = |all: &Self| -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
            let plain = |parts: &[Vec<u8>]| parts.split_last().map(|(_, plain)| plain.to_vec()).unwrap_or_default();
            all.0.iter().map(|(key, parts)| (key.clone(), plain(parts))).collect()
        };
        contents(self) == contents(other)
    }
}

impl Eq for Keyspace {}

impl Keyspace {
    /// Reads all of it.
    pub async fn read(redis: &Redis) -> Result<Self> {
        let mut connection = redis.connection().await?;
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await?;
        let mut all = BTreeMap::new();
        for key in keys {
            let contents = contents(&mut connection, &key).await?;
            all.insert(key, contents);
        }
        Ok(Self(all))
    }

    /// The names of the keys that contain a text, in their name or their contents.
    pub fn mentions(&self, text: &str) -> Vec<String> {
        let text = text.as_bytes();
        let found = self
            .0
            .iter()
            .filter(|(key, contents)| contains(key, text) || contents.iter().any(|part| contains(part, text)));
        found.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    }
}

async fn contents(connection: &mut MultiplexedConnection, key: &[u8]) -> Result<Vec<Vec<u8>>> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(connection).await?;
    let mut command = match kind.as_str() {
        "hash" => redis::cmd("HGETALL"),
        "set" => redis::cmd("SMEMBERS"),
        "zset" => redis::cmd("ZRANGE"),
        "list" => redis::cmd("LRANGE"),
        "stream" => redis::cmd("XRANGE"),
        _ => redis::cmd("GET"),
    };
    command.arg(key);
    match kind.as_str() {
        "zset" | "list" => drop(command.arg(0).arg(-1)),
        "stream" => drop(command.arg("-").arg("+")),
        _ => {}
    }
    let mut parts = Vec::new();
    flatten(command.query_async(connection).await?, &mut parts);
    match kind.as_str() {
        "hash" => {
            let mut fields: Vec<Vec<Vec<u8>>> = parts.chunks(2).map(<[_]>::to_vec).collect();
            fields.sort_unstable();
            parts = fields.concat();
        }
        "set" => parts.sort_unstable(),
        _ => {}
    }
    // A serialised value may be packed, so it is looked at beside the plain ones and not instead of them.
    flatten(redis::cmd("DUMP").arg(key).query_async(connection).await?, &mut parts);
    Ok(parts)
}

fn flatten(value: Value, into: &mut Vec<Vec<u8>>) {
    match value {
        Value::BulkString(bytes) => into.push(bytes),
        Value::SimpleString(text) => into.push(text.into_bytes()),
        Value::Array(values) | Value::Set(values) => values.into_iter().for_each(|value| flatten(value, into)),
        Value::Map(pairs) => pairs.into_iter().for_each(|(key, value)| {
            flatten(key, into);
            flatten(value, into);
        }),
        _ => {}
    }
}

/// Whether `part` occurs in `bytes`.
pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}
