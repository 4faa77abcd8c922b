//! How many requests were answered, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hyper::{Method, StatusCode};

/// The route an answer came from, as written in the table; put on the answer by the route.
#[derive(Debug, Clone, Copy)]
pub(super) struct RouteName(pub(super) &'static str);

/// Method, route and status of a request. All three come from small fixed sets, whatever clients send.
type Label = (&'static str, &'static str, u16);

/// Requests answered since the start.
#[derive(Default)]
pub(super) struct RequestCounts(Mutex<BTreeMap<Label, u64>>);

impl RequestCounts {
    pub(super) fn count(&self, method: &Method, route: &'static str, status: StatusCode) {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other");
        let mut counts = self.0.lock().expect("nothing panics while it holds this lock");
        *counts.entry((method, route, status.as_u16())).or_default() += 1;
    }

    pub(super) fn snapshot(&self) -> BTreeMap<Label, u64> {
        self.0.lock().expect("nothing panics while it holds this lock").clone()
    }
}
