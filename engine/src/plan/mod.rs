//! From YAML to a compiled plan, without I/O: document, site, template, validate, compile, digest, diagnostic.

pub mod compiled;
