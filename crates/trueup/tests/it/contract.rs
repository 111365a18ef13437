//! Contracts with others, held as files: the OpenAPI document and the routes.

use trueup::http::{ROUTES, openapi};

/// The file that others read.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn the_openapi_file_is_what_the_server_says() {
    let text = format!("{:#}\n", openapi());
    if std::env::var_os("TRUEUP_UPDATE").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    let held = std::fs::read_to_string(FILE).unwrap();
    assert!(held == text, "docs/openapi.json is another; run with TRUEUP_UPDATE=1 and look at it");
}

#[test]
fn every_route_is_in_the_document_and_no_other() {
    let document = openapi();
    let paths = document["paths"].as_object().unwrap();
    let mut said: Vec<(String, String)> = Vec::new();
    for (path, methods) in paths {
        let methods = methods.as_object().unwrap().keys();
        said.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    let mut routes: Vec<_> =
        ROUTES.iter().map(|(method, path)| (method.to_string(), path.to_string())).collect();
    said.sort();
    routes.sort();
    assert_eq!(said, routes);
}
