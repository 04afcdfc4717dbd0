//! What happens on the way to hosts: a connection is lost and made again. It is in no record, and yet what an operator who
//! watches wants to know.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::Report;

/// Hands the events of this program's own crates to a report from here on, as long as the process lives.
pub fn hand_to(report: Arc<dyn Report>) {
    // Only a process that carries out two runs would be told no; then the first report goes on.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Notes { report }));
}

struct Notes {
    report: Arc<dyn Report>,
}

impl<S: Subscriber> Layer<S> for Notes {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if *about.level() <= Level::INFO && about.target().starts_with("requorum") {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.report.say(&fields.line());
        }
    }
}

/// The fields of an event as text.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Fields {
    /// Puts them into one line: what it is about, what happened, and the rest.
    fn line(mut self) -> String {
        let subject = self.0.remove("attempt").or_else(|| self.0.remove("host"));
        self.0.remove("host");
        let what = self.0.remove("message").unwrap_or_default();
        let rest = self.0.into_values().collect::<Vec<_>>().join("; ");
        let rest = if rest.is_empty() { rest } else { format!(" ({rest})") };
        let subject = subject.map(|subject| format!("{subject}: ")).unwrap_or_default();
        format!("{subject}{what}{rest}")
    }
}
