//! A run at a bench: a store in memory, real commands of this machine, and a driver that a test can cut off anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use requorum::exec::context::{Base, Context, Errand};
use requorum::exec::driver::{Driver, Ended, Setting};
use requorum::exec::fence::Fence;
use requorum::exec::inbox::{Decision, Inbox, Order};
use requorum::exec::journal::{self, Journal, JournalError};
use requorum::exec::secrets::Secrets;
use requorum::exec::signals::Stop;
use requorum::plan::compiled::Plan;
use requorum::plan::{Files, Given, Mode, Scope, Source, compile};
use requorum::report::Silent;
use requorum::run::record::{Event, ItemId, Override, Record};
use requorum::run::state::RunState;
use requorum_state::{MemoryStore, Store};
use requorum_steps::capsule::Holder;
use requorum_steps::world::Settings;
use requorum_steps::{ItemKey, RunId, Site, StepId, World, catalog};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Longer than anything here takes on a busy machine.
pub const LONG: Duration = Duration::from_mins(1);

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

/// One run: what survives its processes.
pub struct Bench {
    pub dir: TempDir,
    plan: Arc<Plan>,
    store: MemoryStore,
}

/// `step` or `step@item`.
pub fn id(text: &str) -> ItemId {
    let (step, item) = text.split_once('@').unwrap_or((text, "-"));
    ItemId { step: StepId::new(step).unwrap(), item: ItemKey::new(item).unwrap() }
}

impl Bench {
    /// Compiles a plan of these steps. `DIR` in them is a directory of the run.
    pub fn of(steps: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("requorum: 1\nname: test\nsteps:\n{steps}").replace("DIR", dir.path().to_str().unwrap());
        let plan = Source { name: "plan.yaml".to_owned(), text, directory: None };
        let site = Source { name: "site.yaml".to_owned(), text: SITE.to_owned(), directory: None };
        let compiled = compile(&requorum::plan::Request {
            plan: &plan,
            site: Some(&site),
            inputs: &Given::default(),
            home: None,
            files: &NoFiles,
            mode: Mode::Run,
            kinds: catalog::all(),
        });
        let plan = compiled.unwrap_or_else(|problems| panic!("{problems:?}")).plan;
        Self { dir, plan: Arc::new(plan), store: MemoryStore::default() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// How many lines a file has: how often something was done.
    pub fn count(&self, name: &str) -> usize {
        std::fs::read_to_string(self.path(name)).unwrap_or_default().lines().count()
    }

    pub fn records(&self) -> Vec<Record> {
        journal::read(&self.store).unwrap()
    }

    pub fn events(&self, name: &str) -> usize {
        self.records().iter().filter(|record| record.event.name() == name).count()
    }

    /// What the journal folds to.
    pub fn state(&self) -> RunState {
        let mut state = RunState::new(Arc::clone(&self.plan));
        for record in self.records() {
            state.apply(&record).unwrap();
        }
        state
    }

    pub fn word(&self, at: &str) -> &'static str {
        self.state().item(&id(at)).unwrap().phase.word()
    }

    /// Waits until the journal has as many of these events.
    pub async fn until(&self, name: &str, count: usize) {
        self.until_true(&format!("{count} x {name}"), || self.events(name) >= count).await;
    }

    pub async fn until_true(&self, what: &str, holds: impl Fn() -> bool) {
        let ends = Instant::now() + LONG;
        while !holds() {
            assert!(Instant::now() < ends, "{what} did not come to be: {:#?}", self.records());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A process that takes the run up.
    pub fn process(&self) -> Process {
        let records = self.records();
        let epoch = records.iter().map(|record| record.epoch).max().unwrap_or(0) + 1;
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        let mut journal = Journal::new(store, Arc::clone(&self.plan), &records, epoch, Arc::new(Silent)).unwrap();
        let (by, token) = ("a test".to_owned(), epoch.to_string());
        journal.commit(vec![Event::TakenUp { by, token: token.clone(), reason: None }]).unwrap();
        let site: Site = serde_json::from_value(json!({
            "cluster": "test", "platform": "any", "capsule_root": "/nonexistent", "hosts": {},
        }))
        .unwrap();
        let settings = Settings {
            local_capsules: self.path("capsules"),
            supervisor: env!("CARGO_BIN_EXE_requorum").into(),
            kubeconfig: Vec::new(),
            call_timeout: LONG,
            connect_timeout: LONG,
        };
        let run = RunId::new("run").unwrap();
        let context = Context {
            plan: Arc::clone(&self.plan),
            world: World::new(Arc::new(site), settings),
            holder: Holder { cluster: "test".to_owned(), run, epoch, token, label: "a test".to_owned() },
            fence: Fence::default(),
            secrets: Secrets::default(),
            report: Arc::new(Silent),
            base: Base { plan: Scope::default().run(&json!({ "id": "run" })), ..Base::default() },
            given_up: BTreeSet::new(),
            patience: Duration::ZERO,
            errand: Errand::CarryOut,
        };
        let (to, stops) = mpsc::unbounded_channel();
        let setting = Setting { parallel: 4, budget: None, inbox: self.inbox(), stops, asker: None };
        Process { driver: Driver::new(Arc::new(context), journal, setting), stop: to }
    }

    fn inbox(&self) -> Inbox {
        Inbox::of(self.dir.path())
    }

    /// Takes the run up and drives it to its end.
    pub async fn drive(&self) -> Ended {
        self.process().drive().await.unwrap()
    }

    /// Sends an order to the live run and waits until it is taken. Returns the reason of a refusal.
    pub async fn order(&self, order: Order) -> Option<String> {
        let decision = Decision { order, by: "a person".to_owned(), reason: "a reason".to_owned() };
        let path = self.inbox().put(&decision, "order").unwrap();
        self.until_true("the order is taken", || !path.exists()).await;
        let refused = path.with_extension("refused");
        let why = std::fs::read_to_string(&refused).ok();
        let _ = std::fs::remove_file(refused);
        why
    }

    pub async fn overrides(&self, at: &str, how: Override) -> Option<String> {
        self.order(Order::Override { id: id(at), how }).await
    }

    /// What each item came to.
    pub fn words(&self) -> BTreeMap<String, &'static str> {
        self.state().items().map(|(id, item)| (id.to_string(), item.phase.word())).collect()
    }
}

const SITE: &str = "requorum: 1\ncluster: test\nplatform: any\nhosts: { here: { address: 127.0.0.1 } }\n";

/// One process; dropping it while it drives is its sudden end.
pub struct Process {
    driver: Driver,
    stop: mpsc::UnboundedSender<Stop>,
}

impl Process {
    pub async fn drive(&mut self) -> Result<Ended, JournalError> {
        tokio::time::timeout(LONG, self.driver.drive()).await.expect("the run is stuck")
    }

    pub fn stopper(&self) -> mpsc::UnboundedSender<Stop> {
        self.stop.clone()
    }
}
