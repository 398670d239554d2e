//! The API server: addresses and verbs to the store.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::store::{Answer, Store, status};
use super::{exec, kubelet};
use crate::answers;

pub(super) type Body = Full<Bytes>;

pub(super) async fn serve(listener: TcpListener, store: Arc<Store>, id: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (store, id) = (Arc::clone(&store), id.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let (store, id) = (Arc::clone(&store), id.clone());
                async move {
                    tokio::time::sleep(store.answers.came()).await;
                    let line = format!("{} {} HTTP/1.1", request.method(), request.uri());
                    match store.answers.to(&line) {
                        None => Ok(answer(request, &store, &id).await),
                        Some(answers::Answer::Error) => Ok(told(500, &ill())),
                        Some(answers::Answer::Nothing) => Err(std::io::Error::other("none")),
                    }
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // Whose client is gone has nobody to tell.
            let _ = connection.await;
        });
    }
}

fn ill() -> Value {
    status(500, "InternalError", "the test's API server is ill")
}

/// Where a request leads.
struct Way<'a> {
    namespace: &'a str,
    plural: &'a str,
    name: &'a str,
    sub: &'a str,
}

fn way(path: &str) -> Option<Way<'_>> {
    let rest = path
        .strip_prefix("/api/v1/namespaces/")
        .or_else(|| path.strip_prefix("/apis/apps/v1/namespaces/"))?;
    let mut parts = rest.split('/');
    Some(Way {
        namespace: parts.next()?,
        plural: parts.next()?,
        name: parts.next().unwrap_or_default(),
        sub: parts.next().unwrap_or_default(),
    })
}

/// A parameter of an address, decoded; all of that name.
fn parameters(request: &Request<Incoming>, name: &str) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| decoded(value))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'%')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn answer(request: Request<Incoming>, store: &Store, id: &str) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let first = |name: &str| {
        parameters(&request, name)
            .into_iter()
            .next()
            .unwrap_or_default()
    };
    if path == "/version" {
        return told(
            200,
            &json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.1" }),
        );
    }
    if let Some(way) = way(&path) {
        match (request.method(), way.plural, way.sub) {
            (&Method::GET, "pods", "exec") => {
                let (container, words) = (first("container"), parameters(&request, "command"));
                let container = format!("{id}-{}-{container}", way.name);
                return exec::exec(request, container, words);
            }
            (&Method::GET, "pods", "log") => {
                let container = format!("{id}-{}-{}", way.name, first("container"));
                let lines = first("tailLines");
                let text =
                    tokio::task::spawn_blocking(move || kubelet::log(&container, &lines)).await;
                return Response::new(Full::from(text.unwrap_or_default()));
            }
            _ => {}
        }
    }
    let (labels, dry) = (first("labelSelector"), first("dryRun") == "All");
    let grace = first("gracePeriodSeconds").parse().ok();
    let method = request.method().clone();
    let body = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match asked(&method, &path, &body, store, (&labels, dry, grace)) {
        Ok(object) => told(if method == Method::POST { 201 } else { 200 }, &object),
        Err(status) => {
            let code = status["code"]
                .as_u64()
                .and_then(|it| u16::try_from(it).ok())
                .unwrap_or(500);
            told(code, &status)
        }
    }
}

fn asked(
    method: &Method,
    path: &str,
    body: &Value,
    store: &Store,
    (labels, dry, grace): (&str, bool, Option<u64>),
) -> Answer {
    if path.ends_with("/selfsubjectaccessreviews") {
        let asked = &body["spec"]["resourceAttributes"];
        let word = |name: &str| asked[name].as_str().unwrap_or_default();
        let resource = match word("subresource") {
            "" => word("resource").to_owned(),
            sub => format!("{}/{sub}", word("resource")),
        };
        let mut answer = body.clone();
        answer["status"] = json!({ "allowed": store.may(word("verb"), &resource) });
        return Ok(answer);
    }
    let Some(Way {
        namespace,
        plural,
        name,
        sub,
    }) = way(path)
    else {
        return Err(status(
            404,
            "NotFound",
            &format!("the server could not find {path}"),
        ));
    };
    let verb = match (method.as_str(), name) {
        ("GET", "") => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        _ => "delete",
    };
    let resource = if sub.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}/{sub}")
    };
    if !store.may(verb, &resource) {
        let message = format!(
            "{plural} is forbidden: User \"double\" cannot {verb} resource \"{resource}\" in namespace \"{namespace}\""
        );
        return Err(status(403, "Forbidden", &message));
    }
    match (verb, sub) {
        ("list", _) => {
            let items = store.list(plural, namespace, labels);
            Ok(json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items }))
        }
        ("get", "") => store.get(plural, namespace, name),
        ("create", "") => store.create(plural, namespace, body.clone()),
        ("update", "") => store.replace(plural, namespace, name, body.clone()),
        ("update", "ephemeralcontainers") => store.set_ephemeral(namespace, name, body, dry),
        ("patch", "") => store.merge(plural, namespace, name, body),
        ("delete", "") => store.delete(plural, namespace, name, grace),
        _ => Err(status(
            404,
            "NotFound",
            &format!("the server could not find {path}"),
        )),
    }
}

pub(super) fn told(code: u16, object: &Value) -> Response<Body> {
    let mut response = Response::new(Full::from(object.to_string()));
    *response.status_mut() =
        hyper::StatusCode::from_u16(code).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        "content-type",
        hyper::header::HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let found = way("/api/v1/namespaces/m/pods/p-0/exec").unwrap();
        assert_eq!(
            (found.namespace, found.plural, found.name, found.sub),
            ("m", "pods", "p-0", "exec")
        );
        assert!(way("/version").is_none());
        assert_eq!(decoded("owner%3Dhelm%2Cname%3Dpmm"), "owner=helm,name=pmm");
    }
}
