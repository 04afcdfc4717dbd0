//! What is done about an attempt whose outcome is in doubt: the capsule is asked, then the probe, then a person.

use requorum_steps::capsule::CapsuleState;
use requorum_steps::{Action, Builtin, Fault, Make, Probe};
use serde_json::Value;

use super::attempt::{Attempted, Stopping, Work};
use super::context::{self, Errand};
use super::look;
use crate::report::phrase;
use crate::run::decide::{judge_capsule, judge_probe};
use crate::run::record::{Event, Verdict};

/// What reconciling came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// It was decided; the state says how.
    Decided,
    /// Nothing could be seen; it stays in doubt, and this process does not ask again.
    Unseen,
    /// The host has rebooted under it. Nothing is decided until it is known what else the reboot has changed.
    Rebooted,
}

impl Work<'_> {
    /// Finds out what became of the latest attempt, and goes on from there. `observed`: what must still hold after a reboot
    /// under this attempt has been looked at.
    pub async fn reconcile(&self, observed: bool) -> Result<Reconciled, Stopping> {
        let number = self.entry.item.attempt;
        let kind = match context::kind(&self.entry.step.kind) {
            Ok(kind) => kind,
            Err(fault) => return self.unseen(fault).await,
        };
        match kind.make {
            Make::Builtin(_) if self.context.errand == Errand::Settle => {
                self.decided(Verdict::Withdraw, "it only waits or looks".to_owned()).await?;
                return Ok(Reconciled::Decided);
            }
            Make::Builtin(Builtin::WaitFor) => return self.go_on_waiting().await.map(|()| Reconciled::Decided),
            Make::Builtin(_) => {
                self.decided(Verdict::Repeat, "it only waits or looks".to_owned()).await?;
                return Ok(Reconciled::Decided);
            }
            Make::Action(_) | Make::Check(_) => {}
        }
        // The arguments of the intent, never rendered again.
        let action = match self.context.action(kind, &self.entry.item.args) {
            Ok(action) => action,
            Err(fault) => return self.unseen(fault).await,
        };
        let mut cut_off = "";
        if action.contained() {
            let attempt = self.context.attempt(&self.entry.id, number);
            let world = &self.context.world;
            let look = || async {
                match self.context.errand {
                    Errand::CarryOut => world.capsule_state(self.entry.host(), &attempt).await,
                    Errand::Settle => world.call_off(self.entry.host(), &attempt).await,
                }
            };
            let seen = match look::patiently(self.context, &self.spot(), look).await {
                Ok(seen) => seen,
                Err(fault) => return self.unseen(fault).await,
            };
            match judge_capsule(&seen) {
                Some((Verdict::Launch, evidence)) if self.context.errand == Errand::Settle => {
                    self.decided(Verdict::Withdraw, evidence).await?;
                    return Ok(Reconciled::Decided);
                }
                Some((Verdict::Launch, _)) if self.may_not_launch().await? => return Ok(Reconciled::Decided),
                Some((verdict, evidence)) => {
                    self.decided(verdict, evidence).await?;
                    return self.finish(action.as_ref()).await;
                }
                None => {}
            }
            if seen == (CapsuleState::Dead { rebooted: true }) && !observed {
                return Ok(Reconciled::Rebooted);
            }
            cut_off = phrase::cut_off(&seen);
        }
        let look = || self.probe(action.as_ref(), &self.entry.item.before);
        let probe = match look::patiently(self.context, &self.spot(), look).await {
            Ok(probe) => probe,
            Err(fault) => return self.unseen(fault).await,
        };
        let (verdict, evidence) = judge_probe(self.entry.step.effect, &probe);
        self.decided(verdict, format!("{cut_off}{evidence}")).await?;
        if let (Verdict::Adopt, Probe::Yes { result, .. }) = (verdict, probe) {
            self.adopted(action.as_ref(), result).await?;
        }
        Ok(Reconciled::Decided)
    }

    /// Evaluates `require` once more before something begins, and records where it does not hold.
    async fn may_not_launch(&self) -> Result<bool, Stopping> {
        let findings = look::settle(self.context, &self.entry.step.require, &self.spot()).await;
        let blocked = findings.iter().any(|finding| !finding.holds);
        if blocked {
            self.commit(Event::Blocked { id: self.entry.id.clone(), findings }).await?;
        }
        Ok(blocked)
    }

    /// Takes the attempt to its end: its capsule returns what has ended, waits for what runs, and launches what never began.
    /// What follows is as if nothing had come between.
    async fn finish(&self, action: &dyn Action) -> Result<Reconciled, Stopping> {
        let item = &self.entry.item;
        let ended = self.finish_attempt(action, item.attempt, item.before.clone()).await?;
        self.carry_on(action, &item.args, item.attempt, ended).await?;
        Ok(Reconciled::Decided)
    }

    /// Goes on with an effect that the probe has found.
    async fn adopted(&self, action: &dyn Action, result: Value) -> Result<(), Stopping> {
        let item = &self.entry.item;
        let ended = if self.acted(item.attempt, result).await? { Attempted::Settled } else { Attempted::Unverified };
        self.carry_on(action, &item.args, item.attempt, ended).await
    }

    pub(super) async fn decided(&self, verdict: Verdict, evidence: String) -> Result<(), Stopping> {
        let id = self.entry.id.clone();
        self.commit(Event::Reconciled { id, attempt: self.entry.item.attempt, verdict, evidence }).await
    }

    async fn unseen(&self, fault: Fault) -> Result<Reconciled, Stopping> {
        let id = self.entry.id.clone();
        self.commit(Event::Doubted { id, attempt: self.entry.item.attempt, fault }).await?;
        Ok(Reconciled::Unseen)
    }
}
