//! Another tenant's things answer as things that do not exist: every route of the management API,
//! every argument of every tool.

use portcullis_e2e::{Grants, Management, Platform, Reply};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answers::{assert_result, comparable};

/// Every operation of the served description: method and path template.
async fn operations(owner: &Management) -> Vec<(Method, String)> {
    let described = owner.get("/openapi.json").await.unwrap();
    let paths = described.json()["paths"].as_object().cloned().unwrap();
    let mut found = Vec::new();
    for (path, item) in paths {
        for method in ["get", "post", "put", "patch", "delete"] {
            if item.get(method).is_some() {
                let below = path.trim_start_matches("/api/v1").to_owned();
                found.push((method.to_uppercase().parse().unwrap(), below));
            }
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

/// A path with its parameters filled in.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut path = String::new();
    for part in template.split('/').skip(1) {
        path.push('/');
        match part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            Some(name) => path.push_str(&value(name)?),
            None => path.push_str(part),
        }
    }
    Some(path)
}

/// A body that a route takes, so that it is the thing that is missing and not the body.
fn body(method: &Method, template: &str) -> Value {
    let limits = json!({"rpm": 1, "burst": 1, "concurrency": 1, "daily_cost_usd": 1});
    let stop_rules = json!({"max_plan_depth": 1, "max_retries": 1});
    match template.rsplit('/').next().unwrap_or_default() {
        "principals" => json!({"name": "agent:nobody"}),
        "{principal}" => json!({"status": "active"}),
        "grants" => json!({"scope": "orders.read"}),
        "keys" => json!({"jwk": {"kty": "OKP", "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}),
        "tickets" => json!({
            "tool": "flag.set", "arguments": {}, "reason": "None",
            "expires_at": "2027-01-01T00:00:00Z",
        }),
        "limits" => json!({"limits": limits, "stop_rules": stop_rules}),
        "egress-allowlist" => json!({"hosts": []}),
        "switches" => json!({"kind": "tenant-freeze", "reason": "A test"}),
        "lift" => json!({"reason": "A test"}),
        "resolve" => json!({"outcome": "executed", "reason": "A test"}),
        "tools" => tool(),
        "{tool}" if *method == Method::PUT => tool(),
        "{tool}" => json!({"enabled": true}),
        "{tenant}" => json!({"name": "Nobody"}),
        _ => json!({}),
    }
}

/// A tool of another system.
fn tool() -> Value {
    let schema = json!({"type": "object", "additionalProperties": false, "properties": {}});
    json!({
        "connector": "http",
        "definition": {
            "name": "status.get", "title": "Status", "description": "Reads a status.",
            "inputSchema": schema, "outputSchema": schema,
            "examples": [{"title": "Now", "arguments": {}}],
            "scope": "status.read", "mutating": false, "risk": "low",
            "data": {"classes": [], "jurisdictions": []},
            "cost": {"micro_usd": 0, "max_micro_usd": 0},
            "idempotent": true, "egress": ["status.example.com"],
        },
        "config": {
            "server": "status", "method": "GET", "path": "/v1/status",
            "base_urls": {"eu-west": "https://status.example.com"},
        },
    })
}

async fn answer(caller: &Management, method: &Method, path: &str, template: &str) -> Reply {
    let mut path = path.to_owned();
    if template.ends_with("/records") {
        path.push_str("?trace_id=0af7651916cd43dd8448eb211c80319c");
    }
    let mut request = caller.request(method.clone(), &path);
    if *method != Method::GET {
        request = request.header("if-match", "\"1\"");
        request = if template.ends_with("/policies") {
            request
                .header("content-type", "application/yaml")
                .body("[]")
        } else {
            request.json(&body(method, template))
        };
    }
    Reply::to(request).await.unwrap()
}

#[tokio::test]
async fn every_route_of_a_foreign_tenant_answers_as_one_of_an_absent_tenant() {
    let platform = Platform::shared().unwrap();
    let owner = platform.owner("acme").unwrap();
    let globex = platform
        .owner("globex")
        .unwrap()
        .get("/tenants/globex")
        .await
        .unwrap();
    let foreign_id = globex.at("/id").as_str().unwrap().to_owned();
    let absent_id = altered(&foreign_id);
    let mut tried = 0;
    for (method, template) in operations(&owner).await {
        if !template.contains("{tenant}") {
            continue;
        }
        let of = |tenant: &str| {
            let tenant = tenant.to_owned();
            fill(&template, |name| {
                Some(if name == "tenant" {
                    tenant.clone()
                } else {
                    example(name, &foreign_id)
                })
            })
            .unwrap()
        };
        for (foreign, absent) in [("globex", "glebox"), (&*foreign_id, &*absent_id)] {
            let there = answer(&owner, &method, &of(foreign), &template).await;
            let nowhere = answer(&owner, &method, &of(absent), &template).await;
            assert_eq!(
                there.status,
                404,
                "{method} {}: {}",
                of(foreign),
                there.told()
            );
            let (there, nowhere) = (comparable(&there), comparable(&nowhere));
            assert_eq!(
                there.replace(foreign, "X"),
                nowhere.replace(absent, "X"),
                "{template}"
            );
            tried += 1;
        }
    }
    println!("{tried} pairs compared");
    assert!(tried > 20, "{tried}");
}

/// An id of the right form for a path parameter.
fn example(name: &str, tenant_id: &str) -> String {
    let digits = tenant_id.split('_').nth(1).unwrap_or_default();
    match name {
        "principal" | "principal_id" => format!("prn_{digits}"),
        "number" | "version" => "1".to_owned(),
        _ => format!("grt_{digits}"),
    }
}

/// The same form, another thing.
fn altered(id: &str) -> String {
    let mut text = id.to_owned();
    let last = text.pop().unwrap();
    text.push(if last == '0' { '1' } else { '0' });
    text
}

#[tokio::test]
async fn a_foreign_principal_in_ones_own_tenant_answers_as_an_absent_one() {
    let platform = Platform::shared().unwrap();
    let owner = platform.owner("acme").unwrap();
    let foreign = platform
        .agent("globex", &Grants::default())
        .await
        .unwrap()
        .client_id;
    let absent = altered(&foreign);
    let mut tried = 0;
    for (method, template) in operations(&owner).await {
        let principal = ["{principal}", "{principal_id}"];
        if !template.contains("{tenant}") || !principal.iter().any(|one| template.contains(one)) {
            continue;
        }
        let of = |id: &str| {
            fill(&template, |name| match name {
                "tenant" => Some("acme".to_owned()),
                "principal" | "principal_id" => Some(id.to_owned()),
                other => Some(example(other, &absent)),
            })
            .unwrap()
        };
        let there = answer(&owner, &method, &of(&foreign), &template).await;
        let nowhere = answer(&owner, &method, &of(&absent), &template).await;
        let (there, nowhere) = (comparable(&there), comparable(&nowhere));
        assert_eq!(
            there.replace(&foreign, "X"),
            nowhere.replace(&absent, "X"),
            "{template}"
        );
        tried += 1;
    }
    assert!(tried > 3, "{tried}");
}

#[tokio::test]
async fn a_foreign_record_answers_as_an_absent_one() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("globex").await.unwrap();
    let trace = crate::answers::fresh_trace();
    let order = json!({"orderId": "none"});
    assert_result(
        &client
            .call_traced("orders.get", order, &trace)
            .await
            .unwrap(),
    );
    let own = platform
        .owner("globex")
        .unwrap()
        .records("globex", &trace)
        .await
        .unwrap();
    assert_eq!(own.len(), 1);
    let acme = platform.owner("acme").unwrap();
    assert_eq!(
        acme.records("acme", &trace).await.unwrap(),
        Vec::<Value>::new()
    );
    let path = format!("/tenants/globex/records?trace_id={trace}");
    assert_eq!(acme.get(&path).await.unwrap().status, 404);
}

#[tokio::test]
async fn the_platforms_operator_sees_no_payload_of_a_tenant() {
    let platform = Platform::shared().unwrap();
    let token = platform.operator().platform_token().unwrap();
    let operator = Management::new(platform.url(), token).unwrap();
    assert_eq!(operator.get("/tenants").await.unwrap().status, 200);
    for path in [
        "/tenants/acme/principals",
        "/tenants/acme/tools",
        "/tenants/acme/limits",
    ] {
        let reply = operator.get(path).await.unwrap();
        assert!(
            [403, 404].contains(&reply.status),
            "{path}: {}",
            reply.told()
        );
    }
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let records = operator
        .get(&format!("/tenants/acme/records?trace_id={trace}"))
        .await
        .unwrap();
    assert!([403, 404].contains(&records.status), "{}", records.told());
}

#[tokio::test]
async fn a_service_token_is_no_access_token_and_the_other_way_round() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let with_access = Management::new(platform.url(), client.token().to_owned()).unwrap();
    assert_eq!(with_access.get("/tenants/acme").await.unwrap().status, 401);
    let service = platform.operator().owner_token("acme").unwrap();
    let reply = client
        .with_token(&service)
        .send("tools/list", json!({}))
        .await
        .unwrap();
    crate::answers::assert_unauthorized(&reply, "token-invalid");
}
