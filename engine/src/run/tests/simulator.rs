//! A run without I/O: a world that remembers every effect, and processes that drive [`RunState`] with [`decide`] as the
//! driver does, one record at a time, so that a process can be cut off after any of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use requorum_steps::capsule::CapsuleState;
use requorum_steps::{Effect, HostName, Probe};

use super::amending::{amended, with_digest};
use super::*;
use crate::plan::difference;
use crate::run::amend::objections;
use crate::run::decide::{Act, decide, judge_capsule, judge_probe};
use crate::run::plans::Plans;
use crate::run::record::{Override, Verdict};
use crate::run::state::Item;

/// What one item does, however often it is tried.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// So many attempts fail, without an effect.
    pub failures: u32,
    /// `when` is false.
    pub skipped: bool,
    /// A person is asked before.
    pub gated: bool,
    /// So many verifications fail.
    pub unverified: u32,
    /// A crash of the machine kills the command of its first attempt that is cut off: after its effect, or before.
    pub dies: Option<bool>,
}

/// The world: it lives on when a process ends.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub scripts: BTreeMap<ItemId, Script>,
    pub effects: BTreeMap<ItemId, u32>,
    capsules: HashMap<(ItemId, u32), CapsuleState>,
    verifications: HashMap<ItemId, u32>,
}

impl World {
    fn script(&self, id: &ItemId) -> Script {
        self.scripts.get(id).cloned().unwrap_or_default()
    }

    /// The command of an attempt runs to its end, unless it already has.
    fn act(&mut self, id: &ItemId, attempt: u32) -> bool {
        let fails = attempt <= self.script(id).failures;
        let effect = self.effects.entry(id.clone()).or_default();
        let state = self.capsules.entry((id.clone(), attempt)).or_insert_with(|| {
            *effect += u32::from(!fails);
            CapsuleState::Exited { status: i32::from(fails) }
        });
        *state == CapsuleState::Exited { status: 0 }
    }

    /// The process is killed while an attempt acts: its command ends by itself, never began, or dies with the machine.
    fn cut_off(&mut self, id: &ItemId, attempt: u32, begun: bool) {
        if let Some(after) = self.script(id).dies
            && !self.capsules.contains_key(&(id.clone(), attempt))
        {
            *self.effects.entry(id.clone()).or_default() += u32::from(after);
            self.capsules.insert((id.clone(), attempt), CapsuleState::Dead { rebooted: true });
            self.scripts.entry(id.clone()).or_default().dies = None;
        } else if begun {
            self.act(id, attempt);
        }
    }

    fn probe(&self, id: &ItemId) -> Probe {
        let evidence = String::new();
        if self.effects.get(id).is_some_and(|count| *count > 0) {
            Probe::Yes { result: Value::Null, evidence }
        } else {
            Probe::No { evidence }
        }
    }

    fn verifies(&mut self, id: &ItemId) -> bool {
        let looks = self.verifications.entry(id.clone()).or_default();
        *looks += 1;
        let looks = *looks;
        looks > self.script(id).unverified
    }
}

/// Where the work on an item stands, between two records.
#[derive(Debug, Clone)]
enum Work {
    Start,
    Reconcile,
    Act(u32),
    Verify,
}

/// One process. It checks after every record what must hold for all journals.
pub struct Process<'a> {
    pub world: &'a mut World,
    pub journal: &'a mut Vec<Record>,
    pub state: RunState,
    working: BTreeMap<ItemId, Work>,
    epoch: u64,
}

impl<'a> Process<'a> {
    pub fn take_up(plans: &Plans, world: &'a mut World, journal: &'a mut Vec<Record>) -> Self {
        let state = RunState::fold(plans.clone(), journal).unwrap();
        let epoch = state.epoch() + 1;
        let mut process = Self { world, journal, state, working: BTreeMap::new(), epoch };
        process.commit(taken_up());
        process
    }

    pub fn commit(&mut self, event: Event) {
        self.check_start(&event);
        let seq = self.state.last_seq() + 1;
        let record = Record { seq, at: Timestamp::UNIX_EPOCH, epoch: self.epoch, event };
        self.state.admits(std::slice::from_ref(&record)).unwrap();
        self.state.apply(&record).unwrap();
        let line = crate::exec::journal::line(&record).unwrap();
        assert_eq!(serde_json::from_slice::<Record>(&line).unwrap(), record);
        self.journal.push(record);
    }

    /// Nothing starts before all that it rests on is done, nor twice without a decision in between.
    fn check_start(&self, event: &Event) {
        let Event::Started { id, attempt, .. } = event else { return };
        let mut needs: Vec<StepId> = self.state.step(&id.step).unwrap().needs.clone();
        while let Some(need) = needs.pop() {
            for (needed, item) in self.state.items_of(&need) {
                assert!(item.phase.is_done(), "{id} starts before {needed}, which is {}", item.phase.word());
            }
            needs.extend(self.state.step(&need).unwrap().needs.iter().cloned());
        }
        let mut decided = true;
        for record in self.journal.iter().filter(|record| record.event.item() == Some(id)) {
            match &record.event {
                Event::Started { attempt: earlier, .. } => {
                    assert!(earlier < attempt, "{id}: attempt {attempt} after {earlier}");
                    decided = false;
                }
                Event::Failed { .. } | Event::Reconciled { .. } | Event::Overridden { .. } => decided = true,
                Event::VerifyFailed { .. } => {
                    decided = self.state.step(&id.step).unwrap().effect < Effect::Probed;
                }
                _ => {}
            }
        }
        assert!(decided, "{id} starts again without a decision");
    }

    /// Begins what is to be begun and takes one item one record further. `None`: nothing is left to do.
    pub fn go_on(&mut self, parallel: usize, choice: usize) -> Option<()> {
        let working: HashSet<ItemId> = self.working.keys().cloned().collect();
        for act in decide(&self.state, &working, parallel) {
            let (id, work) = match act {
                Act::Start(id) => (id, Work::Start),
                Act::Reconcile(id) => (id, Work::Reconcile),
                Act::Verify(id) => (id, Work::Verify),
            };
            assert!(self.working.insert(id, work).is_none());
        }
        assert!(self.working.len() <= parallel);
        for step in &self.state.plan().steps {
            let at_work = self.working.keys().filter(|id| id.step == step.id).count();
            assert!(step.max_parallel.is_none_or(|most| at_work <= most), "{} of {}", at_work, step.id);
        }
        let id = self.working.keys().nth(choice % self.working.len().max(1))?.clone();
        let work = self.working.remove(&id)?;
        if let Some(next) = self.one_record(&id, &work) {
            self.working.insert(id, next);
        }
        Some(())
    }

    fn one_record(&mut self, id: &ItemId, work: &Work) -> Option<Work> {
        let script = self.world.script(id);
        let item = self.state.item(id).unwrap().clone();
        let effect = self.state.step(&id.step).unwrap().effect;
        match work {
            Work::Start if script.skipped => {
                self.commit(Event::Skipped { id: id.clone(), because: "false".to_owned() });
                None
            }
            Work::Start if script.gated && !item.approved => {
                self.commit(Event::GateOpened { id: id.clone(), message: String::new() });
                None
            }
            Work::Start => {
                if effect == Effect::Probed
                    && let Probe::Yes { result, evidence } = self.world.probe(id)
                {
                    self.commit(Event::Satisfied { id: id.clone(), result, evidence });
                    return Some(Work::Verify);
                }
                let attempt = item.attempt + 1;
                self.commit(started(&id.to_string(), attempt));
                Some(Work::Act(attempt))
            }
            Work::Act(attempt) => {
                if self.world.act(id, *attempt) {
                    self.commit(acted(&id.to_string(), *attempt));
                    return Some(Work::Verify);
                }
                self.commit(failed(&id.to_string(), *attempt));
                let left = self.state.item(id).unwrap().attempts_left(self.state.step(&id.step).unwrap());
                left.then_some(Work::Start)
            }
            Work::Verify => {
                if self.world.verifies(id) {
                    self.commit(succeeded(&id.to_string()));
                    return None;
                }
                self.commit(Event::VerifyFailed { id: id.clone(), findings: Vec::new() });
                let left = self.state.item(id).unwrap().attempts_left(self.state.step(&id.step).unwrap());
                (left && effect < Effect::Probed).then_some(Work::Start)
            }
            Work::Reconcile => {
                let seen = self.world.capsules.get(&(id.clone(), item.attempt)).unwrap_or(&CapsuleState::Absent);
                let probe = if effect == Effect::Once {
                    Probe::Unknown { evidence: String::new() }
                } else {
                    self.world.probe(id)
                };
                let asked = judge_capsule(seen);
                let by_capsule = asked.is_some();
                let (verdict, evidence) = asked.unwrap_or_else(|| judge_probe(effect, &probe));
                self.commit(Event::Reconciled { id: id.clone(), attempt: item.attempt, verdict, evidence });
                match verdict {
                    Verdict::Adopt if !by_capsule => {
                        self.commit(acted(&id.to_string(), item.attempt));
                        Some(Work::Verify)
                    }
                    Verdict::Adopt | Verdict::Reattach | Verdict::Launch => Some(Work::Act(item.attempt)),
                    Verdict::Repeat | Verdict::Ask | Verdict::Withdraw => None,
                }
            }
        }
    }

    /// The process is killed. Of what acts, some commands have begun and go on alone.
    pub fn kill(self, begun: bool) {
        for (id, work) in self.working {
            if let Work::Act(attempt) = work {
                self.world.cut_off(&id, attempt, begun);
            }
        }
    }

    /// What had lapsed holds again, and of what is done one item has lapsed meanwhile.
    pub fn look_again(&mut self, lapses: Option<usize>) {
        let items: Vec<(ItemId, Item)> = self.state.items().map(|(id, item)| (id, item.clone())).collect();
        for (id, item) in &items {
            if let Phase::Asked { lapsed: true, .. } = item.phase {
                let (id, attempt, verdict, evidence) = (id.clone(), item.attempt, Verdict::Adopt, String::new());
                self.commit(Event::Reconciled { id, attempt, verdict, evidence });
            }
        }
        let done = |item: &Item| item.attempt > 0 && matches!(item.phase, Phase::Succeeded | Phase::Satisfied);
        let done: Vec<&ItemId> = items.iter().filter(|(_, item)| done(item)).map(|(id, _)| id).collect();
        if let Some(lapses) = lapses.filter(|_| !done.is_empty()) {
            self.commit(Event::Lapsed { id: done[lapses % done.len()].clone(), evidence: String::new() });
        }
    }

    /// A person changes every step that has not begun, and adds one at the end.
    pub fn amend(&mut self, plans: &mut Plans) {
        let mut new = Plan::clone(self.state.plan());
        let begun: HashSet<StepId> =
            self.state.items().filter(|(_, item)| item.has_begun()).map(|(id, _)| id.step).collect();
        let ids: Vec<String> = new.steps.iter().map(|step| step.id.to_string()).collect();
        // A step without items is done without having begun, and others may rest on it.
        let may_change = |step: &Step| !begun.contains(&step.id) && !self.state.is_step_done(&step.id);
        for step in new.steps.iter_mut().filter(|step| may_change(step)) {
            step.timeout = Some(step.timeout.unwrap_or_default() + std::time::Duration::from_secs(1));
        }
        let needs: Vec<&str> = ids.iter().map(String::as_str).collect();
        new.steps.push(step(&format!("added{}", ids.len()), &needs, 1));
        let new = with_digest(&Arc::new(new));
        let differences = difference::between(self.state.plan(), &new);
        assert_eq!(objections(&self.state, &new, &differences), []);
        plans.add(Arc::clone(&new));
        self.state.know(Arc::clone(&new));
        self.commit(amended(&new));
    }

    /// A host is given up: what is not done there is left out.
    pub fn lose(&mut self, host: &HostName) {
        let left: Vec<ItemId> = self.state.open_on(host).map(|(id, _)| id).collect();
        for id in left {
            let (by, reason) = (String::new(), "lost".to_owned());
            self.commit(Event::Overridden { id, how: Override::Skip, by, reason });
        }
    }

    /// A person looks at what needs one, decides by what is true, and has what failed tried again.
    pub fn person_decides(&mut self) {
        let items: Vec<(ItemId, Phase)> = self.state.items().map(|(id, item)| (id, item.phase.clone())).collect();
        for (id, phase) in items {
            let (by, reason) = (String::new(), String::new());
            let happened = matches!(self.world.probe(&id), Probe::Yes { .. });
            let how = match phase {
                Phase::GateOpen { .. } => {
                    self.commit(Event::GateAnswered { id, approved: true, by, reason });
                    continue;
                }
                // It may hold again when the next process looks.
                Phase::Asked { lapsed: true, .. } => continue,
                Phase::Asked { .. } if happened => Override::Done,
                Phase::Asked { .. } | Phase::Failed { .. } => Override::Retry,
                _ => continue,
            };
            self.commit(Event::Overridden { id, how, by, reason });
        }
    }
}
