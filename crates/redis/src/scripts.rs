//! The Lua scripts, sent by their hash and loaded where the server does not have them.

use std::sync::LazyLock;

use redis::Script;

pub(crate) use crate::link::call_at as at;

macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(concat!($(include_str!($file)),+)));
    };
}

script!(CREATE, "lua/create.lua");
script!(WRITE, "lua/write.lua");
script!(CLAIM, "lua/claim.lua");
script!(MAKE_DUE, "lua/make_due.lua");
script!(JOIN_SESSION, "lua/join_session.lua");
script!(ENTER_SESSION, "lua/enter_session.lua");
script!(CANCEL_JOIN, "lua/marks.lua", "lua/cancel_join.lua");
script!(LEAVE_SESSION, "lua/marks.lua", "lua/leave_session.lua");
script!(LOOK_AT_SESSION, "lua/look_at_session.lua");
script!(FINISH_JOIN, "lua/marks.lua", "lua/finish_join.lua");
script!(SUPERSEDE_SESSION, "lua/supersede_session.lua");
script!(ADD_MEMBER, "lua/add_member.lua");
script!(TAKE_SHARE, "lua/take_share.lua");
script!(MOVE_SHARE, "lua/move_share.lua");
script!(ADD_CHILD, "lua/add_child.lua");
script!(PROBE, "lua/probe.lua");
script!(ANNOUNCE, "lua/announce.lua");
script!(DEPART, "lua/depart.lua");
script!(LIVE_REPLICAS, "lua/live.lua", "lua/replicas.lua");
script!(PROMOTE, "lua/live.lua", "lua/promote.lua");
script!(VOUCH_FOR_KEY, "lua/live.lua", "lua/vouch_for_key.lua");
script!(KEEP_UNTIL, "lua/keep_until.lua");
script!(START_RESEALING, "lua/start_resealing.lua");
script!(TAKE_RESEALING, "lua/take_resealing.lua");
script!(NOTE_RESEALING, "lua/note_resealing.lua");
script!(PUBLISH, "lua/publish.lua");
script!(LOCK, "lua/lock.lua");
script!(UNLOCK, "lua/unlock.lua");
script!(ADVANCE, "lua/advance.lua");
