//! A map that templates see while entries are added to it: to make it anew for each var would take the square of their number.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use minijinja::Value;
use minijinja::value::{Enumerator, Object};

/// The map. Entries keep the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Growing(RwLock<Entries>);

#[derive(Debug, Default)]
struct Entries {
    keys: Vec<Value>,
    values: HashMap<Arc<str>, Value>,
}

impl Growing {
    /// Adds an entry.
    pub fn add(&self, name: &str, value: Value) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if entries.values.insert(name.into(), value).is_none() {
            entries.keys.push(name.into());
        }
    }
}

impl From<Growing> for Value {
    fn from(map: Growing) -> Self {
        Self::from_object(map)
    }
}

impl Object for Growing {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values.get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.read().unwrap_or_else(PoisonError::into_inner).keys.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use crate::plan::template::{Scope, evaluate, render_text};

    #[test]
    fn vars_that_are_added_look_like_those_that_were_there() {
        let vars = json!({ "b": 1, "a": [true, "x"], "c-d": { "e": null } });
        let grown = Scope::default().growing_vars();
        for (name, value) in vars.as_object().unwrap() {
            grown.add_var(name, value);
        }
        let whole = Scope::default().vars(vars.as_object().unwrap());
        for expression in ["vars", "vars.b", "vars['c-d'].e", "vars | length", "vars | items | list", "vars.a[1]"] {
            assert_eq!(evaluate(expression, &grown), evaluate(expression, &whole), "{expression}");
        }
        assert_eq!(evaluate("vars == {'b': 1}", &grown), Ok(json!(false)));
        assert_eq!(
            render_text("{{ vars }} {% for name in vars %}{{ name }}{% endfor %}", &grown).unwrap(),
            render_text("{{ vars }} {% for name in vars %}{{ name }}{% endfor %}", &whole).unwrap()
        );
        assert_eq!(evaluate("vars.z", &grown), evaluate("vars.z", &whole));
    }
}
