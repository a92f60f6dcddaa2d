//! The headers of every answer, whatever it is.

use portcullis_e2e::{Http, McpClient, Platform, Reply};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::answers::assert_hygiene;

type Kinds = Vec<(&'static str, RequestBuilder)>;

/// A request of every kind of answer of the MCP endpoint.
fn at_the_endpoint(client: &McpClient) -> Kinds {
    let http = Http::new().unwrap();
    let rpc = |method: &str, params| client.request(&client.body(method, params));
    let get = json!({"name": "orders.get", "arguments": {"orderId": "none"}});
    let no_arguments = json!({"name": "orders.get", "arguments": {}});
    let post = |body: String| {
        let request = http.post(client.url()).bearer_auth(client.token());
        request
            .header("content-type", "application/json")
            .body(body)
    };
    let evil = ("origin", "https://evil.example");
    vec![
        ("a call", rpc("tools/call", get.clone())),
        ("a list", rpc("tools/list", json!({}))),
        ("discovery", rpc("server/discover", json!({}))),
        ("an unknown method", rpc("nothing", json!({}))),
        (
            "an unknown tool",
            rpc("tools/call", json!({"name": "no.tool"})),
        ),
        ("a denied call", rpc("tools/call", no_arguments)),
        ("no token", http.post(client.url()).json(&get)),
        (
            "a bad token",
            http.post(client.url()).bearer_auth("x").json(&get),
        ),
        (
            "an origin",
            rpc("tools/list", json!({})).header(evil.0, evil.1),
        ),
        ("another method", http.get(client.url())),
        ("a preflight", http.request(Method::OPTIONS, client.url())),
        ("no JSON", post("{".to_owned())),
        ("a batch", post("[]".to_owned())),
        (
            "another type",
            http.post(client.url())
                .bearer_auth(client.token())
                .body("x"),
        ),
        ("too large", post("x".repeat(1_100_000))),
    ]
}

/// A request of every kind of answer of the other routes that need no service token.
fn beside_the_endpoint(platform: &Platform, client: &McpClient) -> Kinds {
    let http = Http::new().unwrap();
    let url = |path: &str| format!("{}{path}", platform.url());
    let tool = |name: &str| {
        let request = http.post(&platform.tool_url("acme", name));
        request
            .bearer_auth(client.token())
            .json(&json!({"orderId": "none"}))
    };
    let resource = "/.well-known/oauth-protected-resource/t";
    let wrong_form = [("grant_type", "x")];
    vec![
        ("a tool over HTTP", tool("orders.get")),
        ("no tool over HTTP", tool("no.tool")),
        ("nothing", http.get(&url("/nothing/here"))),
        ("the root", http.get(&url("/"))),
        ("liveness", http.get(&url("/livez"))),
        ("readiness", http.get(&url("/readyz"))),
        (
            "the server's metadata",
            http.get(&url("/.well-known/oauth-authorization-server")),
        ),
        (
            "the resource's metadata",
            http.get(&url(&format!("{resource}/acme/mcp"))),
        ),
        (
            "no resource's metadata",
            http.get(&url(&format!("{resource}/a%00b/mcp"))),
        ),
        ("the key set", http.get(&url("/oauth/jwks.json"))),
        (
            "a token refused",
            http.post(&url("/oauth/token")).form(&wrong_form),
        ),
        (
            "a token request of another type",
            http.post(&url("/oauth/token")).json(&json!({})),
        ),
        ("no token request", http.get(&url("/oauth/token"))),
        ("a path with a bad escape", http.get(&url("/t/%ff/mcp"))),
    ]
}

/// A request of every kind of answer of the management API.
fn at_the_api(platform: &Platform) -> Kinds {
    let http = Http::new().unwrap();
    let owner = platform.owner("acme").unwrap();
    let url = |path: &str| format!("{}/api/v1{path}", platform.url());
    vec![
        ("the API", owner.request(Method::GET, "/tenants/acme")),
        ("the API without a token", http.get(&url("/tenants/acme"))),
        (
            "the API for nothing",
            owner.request(Method::GET, "/tenants/acme/nothing"),
        ),
        (
            "the API by another method",
            owner.request(Method::PATCH, "/tenants"),
        ),
        (
            "the API with a bad body",
            owner.request(Method::POST, "/tenants").body("x"),
        ),
        ("the API's description", http.get(&url("/openapi.json"))),
    ]
}

#[tokio::test]
async fn owasp_misconfiguration_every_kind_of_answer_has_the_security_headers() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let mut statuses = std::collections::BTreeSet::new();
    let mut requests = at_the_endpoint(&client);
    requests.extend(beside_the_endpoint(platform, &client));
    requests.extend(at_the_api(platform));
    for (what, request) in requests {
        let reply = Reply::to(request).await.unwrap();
        assert_hygiene(what, &reply);
        assert!(reply.status < 500, "{what}: {}", reply.told());
        for leaky in [
            "server",
            "x-powered-by",
            "access-control-allow-origin",
            "set-cookie",
        ] {
            assert!(reply.header(leaky).is_none(), "{what}: {}", reply.told());
        }
        statuses.insert(reply.status);
    }
    for status in [200, 400, 401, 403, 404, 405, 413, 415] {
        assert!(
            statuses.contains(&status),
            "no request was answered {status}: {statuses:?}"
        );
    }
}

#[tokio::test]
async fn a_token_answer_may_not_be_stored_either() {
    let platform = Platform::shared().unwrap();
    let agent = platform.seeded("acme", "agent:copilot").unwrap();
    let reply = agent
        .ask_for_token(&Http::new().unwrap(), None)
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.told());
    assert_hygiene("a token", &reply);
}

#[tokio::test]
async fn an_answer_to_a_broken_request_head_names_nothing() {
    let address = Platform::shared().unwrap().address().unwrap();
    for bytes in [
        &b"NONSENSE\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /t/acme/mcp HTTP/1.1\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
    ] {
        let reply = portcullis_e2e::raw::exchange(address, bytes).await.unwrap();
        assert!(
            (400..500).contains(&reply.status),
            "{bytes:?}: {}",
            reply.text
        );
        assert!(
            !reply.text.to_lowercase().contains("hyper"),
            "{}",
            reply.text
        );
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let address = Platform::shared().unwrap().address().unwrap();
    let request = format!(
        "GET /livez HTTP/1.1\r\nhost: {address}\r\nx: {}\r\nconnection: close\r\n\r\n",
        "a".repeat(70_000)
    );
    let reply = portcullis_e2e::raw::exchange(address, request.as_bytes())
        .await
        .unwrap();
    assert_eq!(reply.status, 431, "{}", reply.text);
}
