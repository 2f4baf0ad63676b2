//! The imports that the project began with, in simulated time: hours of work by five hundred child jobs, through the vault
//! or with the token the user had at the beginning.
//!
//! A module that is called looks at the token as Keycloak does, and answers 401 to one that is not active.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::JobId;
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::secret::AccessToken;
use tokenvault_vault::jobs::{ReadAnswer, ReadRequest, Registration, Vault};
use tokio::runtime::Builder;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;

use super::dice::Dice;
use super::module::caller;
use super::people::People;
use super::process::SimTime;
use super::realm::{self, is_active};
use super::replica::{Replica, Setup};
use super::trace::Trace;
use super::weather::Weather;
use super::world::World;

/// How often a record is saved with a plain token, and how many children are at work at a time.
const EVERY: Duration = Duration::from_secs(30);
const AT_ONCE: u32 = 5;
/// How many records a child has.
const RECORDS: u32 = 3;

/// An import.
#[derive(Debug, Clone, Copy)]
pub struct Import {
    /// How long it takes.
    pub length: Duration,
    /// How long access tokens live.
    pub access_life: Duration,
    /// How many children it is split into.
    pub children: u32,
    /// Whether the user logs out in the middle.
    pub logout: bool,
}

/// How an import went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Course {
    /// Records saved.
    pub saved: u64,
    /// Calls answered 401.
    pub unauthorized: u64,
    /// When the first of those was.
    pub first_unauthorized: Option<Duration>,
    /// Reads that brought no token.
    pub without_token: u64,
    /// Different access tokens used.
    pub tokens: u64,
}

/// One import under way.
struct Site {
    world: Arc<World>,
    replicas: Vec<Replica>,
    course: Mutex<(Course, String)>,
}

impl Site {
    fn open(import: &Import, replicas: usize) -> Self {
        let (errands, _) = unbounded_channel();
        let keycloak = realm::keycloak(1, import.access_life.as_secs(), true, 1);
        let people = People::new(["user0".to_owned()]);
        let chance = (Dice::new(1), Weather::calm());
        let world = Arc::new(World::new(SimTime::start(), keycloak, people, chance, Trace::new(false), errands));
        let setup = Setup {
            naive: false,
            hides_joining: false,
            credulous: false,
            may_exchange: true,
            poll: Duration::from_secs(20),
        };
        let replicas = (0..replicas).map(|number| Replica::start(&world, number, &Arc::default(), &setup)).collect();
        Self { world, replicas, course: Mutex::default() }
    }

    fn vault(&self, choice: u32) -> &Vault {
        let at = usize::try_from(choice).expect("a small number") % self.replicas.len();
        &self.replicas[at].vault
    }

    /// Another module is called with this token.
    fn save(&self, access: &str) {
        let active = is_active(&self.world, access);
        let now = Duration::from_millis(self.world.now());
        let (course, last) = &mut *self.course.lock();
        if active {
            course.saved += 1;
        } else {
            course.unauthorized += 1;
            course.first_unauthorized.get_or_insert(now);
        }
        if access != last {
            course.tokens += 1;
            access.clone_into(last);
        }
    }
}

/// Plays an import whose children ask the vault for the token before each record. With a logout to come, the parent has a
/// session of its own that survives it.
pub fn through_the_vault(import: &Import) -> Course {
    play(async {
        let site = Arc::new(Site::open(import, 2));
        // The replicas come up.
        sleep(Duration::from_secs(1)).await;
        register(&site, import).await;
        let step = import.length / import.children;
        let mut children = Vec::new();
        for child in 0..import.children {
            children.push(tokio::spawn(work(Arc::clone(&site), *import, child, step * child)));
        }
        if import.logout {
            sleep(import.length / 2).await;
            site.world.ui_logs_out(0);
        }
        for child in children {
            child.await.expect("a child that does not panic");
        }
        site.course.lock().0.clone()
    })
}

async fn register(site: &Site, import: &Import) {
    let login = site.world.proof(0).expect("a login");
    let own = import.logout;
    let request = |parent: Option<JobId>| Registration {
        access_token: Some(AccessToken::new(login.access.as_str())),
        user_id: None,
        refresh_token: None,
        acquisition: parent.is_none().then_some(if own { Acquisition::Impersonate } else { Acquisition::Exchange }),
        on_logout: (own && parent.is_none()).then_some(OnLogout::Continue),
        parent_job_id: parent,
        readers: None,
        expires_at: None,
    };
    site.vault(0).register(&caller(), parent(), request(None)).await.expect("the parent");
    for number in 0..import.children {
        site.vault(number).register(&caller(), child(number), request(Some(parent()))).await.expect("a child");
    }
}

/// One child: reads its token and saves a record, again and again, from its beginning to its end.
async fn work(site: Arc<Site>, import: Import, number: u32, begins: Duration) {
    sleep(begins).await;
    let every = import.length / import.children * AT_ONCE / RECORDS;
    for _ in 0..RECORDS {
        let request = ReadRequest { min_ttl: None, wait: Duration::from_secs(5), known: None };
        match site.vault(number).read(&caller(), &child(number), request).await {
            Ok(ReadAnswer::Token(token)) => site.save(token.access_token.expose()),
            Ok(ReadAnswer::NotModified(_)) | Err(_) => site.course.lock().0.without_token += 1,
        }
        sleep(every).await;
    }
}

/// The same import with the access token that the user had at the beginning, and nobody to renew it. It gives up at the
/// first 401, as the real one did.
pub fn with_a_plain_token(import: &Import) -> Course {
    play(async {
        let site = Site::open(import, 0);
        let login = site.world.proof(0).expect("a login");
        let end = import.length.as_millis();
        while u128::from(site.world.now()) < end && site.course.lock().0.unauthorized == 0 {
            site.save(&login.access);
            sleep(EVERY).await;
        }
        site.course.lock().0.clone()
    })
}

fn parent() -> JobId {
    JobId::parse("import").expect("a job's name")
}

fn child(number: u32) -> JobId {
    JobId::parse(format!("import-part-{number}")).expect("a job's name")
}

fn play<T>(import: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without input and output").block_on(import)
}
