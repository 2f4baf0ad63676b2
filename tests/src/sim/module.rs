//! The modules: each registers one job, asking again until it is told how it went, and then reads the job's token now and
//! then from whichever replica it reaches.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use tokenvault_core::ids::{JobId, JobKey, ModuleName};
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_vault::jobs::{Caller, ReadAnswer, ReadRequest, Registration, Vault};
use tokenvault_vault::problem::{Code, Problem};
use tokio::time::{sleep, timeout};

use super::people::Login;
use super::process::EPOCH_MS;
use super::replica::{Replica, tenant};
use super::world::{Job, Violation, World};

/// How often a registration is asked for again.
const TRIES: usize = 30;
/// How long a module waits for an answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// How far a module has come with its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It has not been told that its job is registered.
    Registering,
    /// It has.
    Registered,
    /// It was told that its job is over, and why.
    Ended(String),
    /// Its job could not be registered.
    GivenUp,
}

/// Where modules find replicas.
pub struct Desk {
    /// The world.
    pub world: Arc<World>,
    replicas: Mutex<Vec<Replica>>,
    stages: Mutex<Vec<Stage>>,
}

impl Desk {
    /// Without replicas or jobs.
    pub fn new(world: Arc<World>) -> Self {
        Self { world, replicas: Mutex::default(), stages: Mutex::default() }
    }

    /// A replica is there, in the place of its earlier process if there was one.
    pub fn seat(&self, replica: Replica) {
        let mut replicas = self.replicas.lock();
        replicas.retain(|other| other.process.replica != replica.process.replica);
        replicas.push(replica);
        replicas.sort_by_key(|replica| replica.process.replica);
    }

    /// How many jobs there are.
    pub fn count(&self) -> usize {
        self.stages.lock().len()
    }

    /// How far a job has come.
    pub fn stage(&self, job: usize) -> Stage {
        self.stages.lock()[job].clone()
    }

    fn set_stage(&self, job: usize, stage: Stage) {
        self.world.note(None, "job", stage_name(&stage), job as u64);
        self.world.remark(|| format!("job {job}: {stage:?}"));
        self.stages.lock()[job] = stage;
    }

    /// A replica whose process lives.
    fn vault(&self, choice: u64) -> Option<Arc<Vault>> {
        let replicas = self.replicas.lock();
        let alive: Vec<&Replica> = replicas.iter().filter(|replica| replica.process.serves()).collect();
        let at = usize::try_from(choice % alive.len().max(1) as u64).expect("a handful of replicas");
        alive.get(at).map(|replica| Arc::clone(&replica.vault))
    }

    fn roll(&self, least: u64, most: u64) -> u64 {
        self.world.state.lock().dice.between(least, most)
    }

    /// Reads a job's token from one of the replicas; says why there is none.
    pub async fn read(&self, job: usize, choice: u64) -> Result<String, String> {
        match self.ask(job, choice, Duration::from_secs(10)).await {
            Some(Ok(token)) => Ok(token),
            Some(Err(problem)) => Err(text(&problem)),
            None => Err("no answer".to_owned()),
        }
    }

    async fn ask(&self, job: usize, choice: u64, wait: Duration) -> Option<Result<String, Problem>> {
        let vault = self.vault(choice)?;
        let id = self.world.state.lock().jobs[job].key.job.clone();
        let request = ReadRequest { min_ttl: None, wait, known: None };
        let answer = timeout(PATIENCE, async { vault.read(&caller(), &id, request).await }).await.ok()?;
        Some(answer.map(|answer| match answer {
            ReadAnswer::Token(token) => {
                self.check(token.access_token.expose());
                token.access_token.expose().to_owned()
            }
            ReadAnswer::NotModified(_) => String::new(),
        }))
    }

    /// A token that is served must not have expired by Keycloak's clock.
    fn check(&self, access: &str) {
        let now = EPOCH_MS + self.world.now();
        if expires_at_ms(access).is_none_or(|end| now >= end) {
            self.world.violate(Violation::ExpiredServed);
        }
    }
}

/// The end of an access token's life by its own claims.
pub fn expires_at_ms(access: &str) -> Option<u64> {
    Some(claims(access)?.get("exp")?.as_u64()? * 1_000)
}

/// The session an access token says it is of.
pub fn claimed_sid(access: &str) -> Option<String> {
    claims(access)?.get("sid")?.as_str().map(str::to_owned)
}

/// The number of the user an access token says it is of.
pub fn claimed_user(access: &str) -> Option<usize> {
    claims(access)?.get("preferred_username")?.as_str()?.strip_prefix("user")?.parse().ok()
}

fn claims(access: &str) -> Option<serde_json::Value> {
    let payload = URL_SAFE_NO_PAD.decode(access.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// The module all jobs belong to.
pub fn caller() -> Caller {
    Caller {
        module: ModuleName::parse("mod-di").expect("a module"),
        tenant: tenant(),
        acquisitions: [Acquisition::Exchange, Acquisition::Impersonate, Acquisition::Adopt].into(),
        reads: true,
    }
}

fn text(problem: &Problem) -> String {
    format!("{} {:?}", problem.code.as_str(), problem.members)
}

fn stage_name(stage: &Stage) -> &'static str {
    match stage {
        Stage::Registering => "registering",
        Stage::Registered => "registered",
        Stage::Ended(_) => "ended",
        Stage::GivenUp => "given-up",
    }
}

/// What a job is registered with.
#[derive(Debug, Clone, Copy)]
struct Wish {
    job: usize,
    user: usize,
    acquisition: Acquisition,
    on_logout: Option<OnLogout>,
}

/// Begins a module with a new job of a user's.
pub fn begin(desk: &Arc<Desk>, user: usize, acquisitions: &[Acquisition]) {
    let wish = {
        let mut stages = desk.stages.lock();
        stages.push(Stage::Registering);
        let job = stages.len() - 1;
        let mut state = desk.world.state.lock();
        let acquisition = state.dice.pick(acquisitions);
        let watched = acquisition == Acquisition::Impersonate && state.dice.below(2) == 0;
        let name = JobId::parse(format!("job-{job}")).expect("a job's name");
        let key = JobKey::new(tenant(), name);
        state.jobs.push(Job {
            user,
            key,
            acquisition,
            line: None,
            bound: None,
            created_at: 0,
            forgotten: false,
            asked_while_disabled: false,
            indistinct: false,
            set_back: false,
        });
        Wish { job, user, acquisition, on_logout: watched.then_some(OnLogout::Revoke) }
    };
    desk.world.remark(|| format!("{wish:?}"));
    tokio::spawn(live(Arc::clone(desk), wish));
}

async fn live(desk: Arc<Desk>, wish: Wish) {
    sleep(Duration::from_millis(desk.roll(1, 20_000))).await;
    register(&desk, wish).await;
    while desk.stage(wish.job) != Stage::GivenUp {
        sleep(Duration::from_millis(desk.roll(2_000, 40_000))).await;
        let choice = desk.roll(0, 1_000);
        let wait = Duration::from_secs(desk.roll(0, 10));
        let Some(answer) = desk.ask(wish.job, choice, wait).await else { continue };
        let ended = matches!(desk.stage(wish.job), Stage::Ended(_));
        match answer {
            Ok(_) if ended => {
                desk.world.state.lock().revived += 1;
                desk.set_stage(wish.job, Stage::Registered);
            }
            Err(problem) if problem.code == Code::JobNotFound && forgotten(&desk.world, wish.job) => {
                register(&desk, wish).await;
            }
            Err(problem) if tells_an_end(&problem) && !ended => desk.set_stage(wish.job, Stage::Ended(text(&problem))),
            Ok(_) | Err(_) => {}
        }
    }
}

fn tells_an_end(problem: &Problem) -> bool {
    matches!(problem.code, Code::JobEnded | Code::SessionEnded | Code::ReauthRequired | Code::JobNotFound)
}

/// Whether the store forgot a job's registration in a rollback: no renewal could bring that back, and the module, which is
/// told that there is no such job, registers it again.
fn forgotten(world: &World, job: usize) -> bool {
    world.state.lock().jobs[job].forgotten
}

async fn register(desk: &Arc<Desk>, wish: Wish) {
    desk.set_stage(wish.job, Stage::Registering);
    let mut deposit = None;
    for _ in 0..TRIES {
        if let Some(registered) = try_once(desk, wish, &mut deposit).await {
            return desk.set_stage(wish.job, registered);
        }
        sleep(Duration::from_millis(desk.roll(500, 5_000))).await;
    }
    desk.set_stage(wish.job, Stage::GivenUp);
}

/// One attempt; `None` if it is to be repeated.
async fn try_once(desk: &Arc<Desk>, wish: Wish, deposit: &mut Option<Login>) -> Option<Stage> {
    let world = &desk.world;
    let login = match wish.acquisition {
        Acquisition::Adopt => {
            if let Some(login) = deposit {
                login.clone()
            } else {
                let login = world.log_in(wish.user)?;
                world.state.lock().oracle.begin(login.hash(), &login.access, world.now());
                deposit.insert(login).clone()
            }
        }
        _ => world.proof(wish.user)?,
    };
    let adopted = wish.acquisition == Acquisition::Adopt;
    let request = Registration {
        access_token: Some(AccessToken::new(login.access.as_str())),
        user_id: None,
        refresh_token: adopted.then(|| RefreshToken::new(login.refresh.as_str())),
        acquisition: Some(wish.acquisition),
        parent_job_id: None,
        readers: None,
        on_logout: wish.on_logout,
        expires_at: None,
    };
    let vault = desk.vault(desk.roll(0, 1_000))?;
    let id = world.state.lock().jobs[wish.job].key.job.clone();
    let answer = timeout(PATIENCE, async { vault.register(&caller(), id, request).await }).await.ok()?;
    match answer {
        Ok(_) => Some(Stage::Registered),
        Err(problem) => {
            world.remark(|| format!("registration of job {}: {}", wish.job, text(&problem)));
            // A pair that expired before it could be deposited is given up; a fresh login is deposited instead.
            if problem.code == Code::TokenRejected {
                *deposit = None;
            }
            matches!(problem.code, Code::JobIdEnded | Code::JobConflict).then_some(Stage::GivenUp)
        }
    }
}
