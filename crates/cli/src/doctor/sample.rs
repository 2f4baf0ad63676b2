//! Users who probably have many roles: directly, by a group, or by a role that contains others. The number of requests is
//! bounded: a realm with a hundred thousand users is examined as fast as a realm with a hundred.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use tokenvault_keycloak::{InspectionFailed, percent_encoded};

use super::admin_api::AdminApi;
use super::json::{elements, text};

/// Roles whose holders and groups are looked up.
const ROLES: usize = 20;
/// Roles that contain others whose size is looked at, and those of them that are looked up.
const COMPOSITES: usize = 40;
const LARGEST: usize = 5;
/// Holders and groups of each, members of a group, groups within a group.
const OF_EACH: usize = 5;
/// Groups whose members are looked up.
const GROUPS: usize = 40;
/// Users of the sample.
const USERS: usize = 50;

/// Users, and how many there are.
pub(super) struct UserSample {
    /// Keycloak's ids of them, those first who are likely to hold most.
    pub(super) users: Vec<String>,
    all: usize,
}

impl UserSample {
    /// Whether there are others.
    pub(super) fn is_partial(&self) -> bool {
        self.all > self.users.len()
    }
}

impl fmt::Display for UserSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_partial() {
            write!(f, "{} of {} users", self.users.len(), self.all)
        } else {
            write!(f, "all {} users", self.users.len())
        }
    }
}

/// Takes everybody where there are few, else those who were met most often.
pub(super) async fn take(admin_api: &AdminApi<'_>) -> Result<UserSample, InspectionFailed> {
    let all = admin_api.get("/users/count").await?.as_u64().and_then(|all| usize::try_from(all).ok());
    let all = all.ok_or(InspectionFailed::Unintelligible)?;
    let first = admin_api.get(&format!("/users?briefRepresentation=true&first=0&max={USERS}")).await?;
    let mut tally = RoleTally::default();
    if all > USERS {
        likely(admin_api, &mut tally).await?;
    }
    tally.count(&first, 0);
    let mut users: Vec<_> = tally.users.into_iter().collect();
    users.sort_by_key(|(_, hits)| std::cmp::Reverse(*hits));
    let users: Vec<_> = users.into_iter().take(USERS).map(|(user, _)| user).collect();
    Ok(UserSample { all: all.max(users.len()), users })
}

/// Users and groups, with the roles by which they were met.
#[derive(Default)]
struct RoleTally {
    users: BTreeMap<String, usize>,
    groups: BTreeMap<String, usize>,
}

impl RoleTally {
    fn count(&mut self, users: &Value, roles: usize) {
        for user in elements(users) {
            *self.users.entry(text(&user["id"]).to_owned()).or_default() += roles;
        }
    }
}

async fn likely(admin_api: &AdminApi<'_>, tally: &mut RoleTally) -> Result<(), InspectionFailed> {
    let roles = admin_api.get("/roles?briefRepresentation=true&first=0&max=5000").await?;
    let roles: Vec<&Value> = elements(&roles).filter(|role| !is_everybodys(role)).collect();
    for (contained, name) in largest(admin_api, &roles).await? {
        holders(admin_api, name, contained, tally).await?;
    }
    for role in spread(&roles, ROLES) {
        holders(admin_api, text(&role["name"]), 1, tally).await?;
    }
    members(admin_api, tally).await
}

/// So many of them, from all over the list.
fn spread<'a>(roles: &[&'a Value], many: usize) -> impl Iterator<Item = &'a Value> {
    roles.iter().copied().step_by(roles.len().div_ceil(many).max(1))
}

/// The roles that contain most others, each with how many that are.
async fn largest<'a>(admin_api: &AdminApi<'_>, roles: &[&'a Value]) -> Result<Vec<(usize, &'a str)>, InspectionFailed> {
    let composite: Vec<&Value> = roles.iter().copied().filter(|role| role["composite"] == true).collect();
    let mut sizes = Vec::new();
    for role in spread(&composite, COMPOSITES) {
        let contained = admin_api.get(&format!("/roles-by-id/{}/composites", text(&role["id"]))).await?;
        sizes.push((elements(&contained).count(), text(&role["name"])));
    }
    sizes.sort_by_key(|(contained, _)| std::cmp::Reverse(*contained));
    sizes.truncate(LARGEST);
    Ok(sizes)
}

/// Who has the role, and which groups have it.
async fn holders(
    admin_api: &AdminApi<'_>,
    role: &str,
    counts: usize,
    tally: &mut RoleTally,
) -> Result<(), InspectionFailed> {
    let name = percent_encoded(role);
    tally.count(
        &admin_api.get(&format!("/roles/{name}/users?briefRepresentation=true&first=0&max={OF_EACH}")).await?,
        counts,
    );
    let groups = admin_api.get(&format!("/roles/{name}/groups?briefRepresentation=true&first=0&max={OF_EACH}")).await?;
    for group in elements(&groups) {
        *tally.groups.entry(text(&group["id"]).to_owned()).or_default() += counts;
    }
    Ok(())
}

/// Members of the groups with most roles, and of the groups within them, which have these roles as well.
async fn members(admin_api: &AdminApi<'_>, tally: &mut RoleTally) -> Result<(), InspectionFailed> {
    let mut groups: Vec<_> = std::mem::take(&mut tally.groups).into_iter().collect();
    groups.sort_by_key(|(_, roles)| std::cmp::Reverse(*roles));
    let mut at = 0;
    while at < groups.len().min(GROUPS) {
        let (group, roles) = groups[at].clone();
        let path = format!("/groups/{group}/members?briefRepresentation=true&first=0&max={OF_EACH}");
        tally.count(&admin_api.get(&path).await?, roles);
        let within =
            admin_api.get(&format!("/groups/{group}/children?briefRepresentation=true&first=0&max={OF_EACH}")).await?;
        let new = elements(&within).map(|group| (text(&group["id"]).to_owned(), roles));
        let new: Vec<_> = new.filter(|(id, _)| groups.iter().all(|(known, _)| known != id)).collect();
        groups.extend(new);
        at += 1;
    }
    Ok(())
}

/// Whether every user has the role. Such a role does not show who has many.
fn is_everybodys(role: &Value) -> bool {
    let name = text(&role["name"]);
    name.starts_with("default-roles-") || name == "offline_access" || name == "uma_authorization"
}
