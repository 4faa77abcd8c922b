//! The OpenAPI document and the routes are the same thing.

use std::collections::BTreeSet;
use std::path::Path;

use meshd::http::{Access, Code, ROUTES, Takes, document};
use serde_json::Value;

use crate::server::Server;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let routed: BTreeSet<String> =
        ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(routed.len(), ROUTES.len(), "a route is in the table twice");
    assert_eq!(described, routed);
}

#[test]
fn every_operation_says_who_may_call_what_it_takes_and_how_it_fails() {
    let document = document();
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let place = format!("{} {}", route.method, route.path);
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{place} has no summary");
        assert_eq!(
            operation["security"].as_array().expect("security").is_empty(),
            route.access == Access::Open,
            "{place}"
        );
        assert_eq!(operation.get("requestBody").is_some(), route.takes != Takes::Nothing, "{place}");
        assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Problem", "{place}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in &parameters {
            assert!(
                !parameter["description"].as_str().unwrap_or_default().is_empty(),
                "{place}: {parameter}"
            );
        }
        for segment in route.path.split('/').filter_map(|s| s.strip_prefix('{')) {
            let name = segment.trim_end_matches('}');
            assert!(
                parameters.iter().any(|p| p["name"] == name && p["in"] == "path"),
                "{place} does not describe {name}"
            );
        }
    }
    let ids: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| METHODS.iter().filter_map(|m| item[*m]["operationId"].as_str()))
        .collect();
    assert_eq!(ids.len(), ROUTES.len(), "operation ids are not unique");
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("local");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.push(reference.clone());
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `MESHLINK_UPDATE=1 cargo test -p meshd --test api_http` writes it anew.
#[test]
fn the_document_in_the_repository_is_the_one_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let current = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("MESHLINK_UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).expect("docs/openapi.json");
    assert!(
        committed == current,
        "docs/openapi.json is out of date: run with MESHLINK_UPDATE=1 and look at the difference"
    );
    let served = Server::start().client().get("/v1/openapi.json").ok();
    assert_eq!(served, document());
    assert_eq!(served["openapi"], "3.1.0");
}

#[test]
fn the_guide_lists_every_route_and_every_problem() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let guide = std::fs::read_to_string(path).expect("docs/api.md");
    for route in ROUTES {
        assert!(
            guide.contains(&format!("`{} {}`", route.method, route.path)),
            "{} {} is missing",
            route.method,
            route.path
        );
    }
    for code in Code::ALL {
        let row = format!("| {} | `{}` | {} |", code.status().as_u16(), code.as_str(), code.title());
        assert!(guide.contains(&row), "docs/api.md has no row\n{row}");
    }
}
