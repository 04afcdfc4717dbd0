//! `service.active` and `service.inactive`.

use async_trait::async_trait;

use super::file_checks::HOSTS;
use super::service::{SERVICE, read_service};
use super::service_state::{Managed, Seen, Up};
use crate::action::{Check, Observation};
use crate::catalog::{Kind, Make, Seat};
use crate::fault::Fault;
use crate::world::Reader;

const NEEDS: &str = "systemctl, or crictl for a static pod, or what the site's commands need";

/// `service.active`
pub const ACTIVE: Kind = Kind {
    name: "service.active",
    summary: "Holds if a service runs.",
    details: "A unit that is only being started does not run yet. Of a static pod the manifest is there and its container \
        runs.",
    seat: Seat::Host,
    args: &[SERVICE, HOSTS],
    needs: NEEDS,
    example: "{ service: etcd }",
    make: Make::Check(|args| Ok(Box::new(Is { service: read_service(args)?, active: true }))),
    ..Kind::BLANK
};

/// `service.inactive`
pub const INACTIVE: Kind = Kind {
    name: "service.inactive",
    summary: "Holds if a service does not run and is not being started or stopped.",
    details: "Of a static pod the manifest is gone and no container of it runs; others, such as operators and guards, do not \
        count.",
    seat: Seat::Host,
    args: &[SERVICE, HOSTS],
    needs: NEEDS,
    example: "{ service: etcd }",
    make: Make::Check(|args| Ok(Box::new(Is { service: read_service(args)?, active: false }))),
    ..Kind::BLANK
};

pub(super) struct Is {
    service: String,
    active: bool,
}

impl Is {
    pub(super) fn judge(&self, shown: &str, seen: &Seen) -> Observation {
        let (holds, expected) = match (self.active, seen.up) {
            (true, up) => (up == Up::Running, format!("{shown} runs")),
            (false, up) => (up == Up::Down, format!("{shown} does not run")),
        };
        Observation::new(holds, expected, seen.state.clone())
    }
}

#[async_trait]
impl Check for Is {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let managed = Managed::find(reader, &self.service)?;
        Ok(self.judge(&managed.shown(), &managed.look(reader).await?))
    }
}
