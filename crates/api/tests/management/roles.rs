//! The table of `docs/management-api.md`, tried cell by cell.

use std::collections::BTreeSet;

use http::Method;
use portcullis_api::v1::access::Action;
use portcullis_wire::api::Role;
use serde_json::json;

use crate::platform::{Ask, Platform};

const PAGE: &str = include_str!("../../../../docs/management-api.md");

/// A row of the table.
pub(crate) struct Row {
    pub(crate) action: &'static str,
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    allowed: Vec<(Role, bool)>,
}

/// The rows, as the page has them.
pub(crate) fn table() -> Vec<Row> {
    let mut lines = PAGE
        .lines()
        .skip_while(|line| !line.starts_with("| Action | Route |"));
    let head = cells(lines.next().unwrap());
    let roles: Vec<Role> = head[2..].iter().map(|name| name.parse().unwrap()).collect();
    assert_eq!(roles.len(), Role::ALL.len());
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = cells(line);
            let (method, path) = cells[1].split_once(' ').unwrap();
            let allowed = cells[2..].iter().map(|cell| match *cell {
                "yes" => true,
                "no" => false,
                other => panic!("{other} in {line}"),
            });
            Row {
                action: cells[0],
                method: method.parse().unwrap(),
                path,
                allowed: roles.iter().copied().zip(allowed).collect(),
            }
        })
        .collect()
}

fn cells(line: &'static str) -> Vec<&'static str> {
    let inner = line.trim().trim_matches('|');
    inner.split('|').map(str::trim).collect()
}

#[test]
fn the_table_and_the_code_name_the_same_actions_for_the_same_roles() {
    let table = table();
    for row in &table {
        let action = Action::ALL
            .iter()
            .find(|action| action.as_str() == row.action)
            .unwrap_or_else(|| panic!("{} is no action", row.action));
        for (role, allowed) in &row.allowed {
            assert_eq!(action.is_open_to(*role), *allowed, "{role} {}", row.action);
        }
    }
    let documented: BTreeSet<_> = table.iter().map(|row| row.action).collect();
    let known: BTreeSet<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
    assert_eq!(documented, known);
}

/// A request that gets past its role, and then fails or changes nothing that another cell needs.
fn ask(row: &Row) -> Ask {
    let absent = "0".repeat(32);
    let path = row
        .path
        .replace("{tenant}", "acme")
        .replace("{principal}", "agent:absent")
        .replace("{secret}", &format!("sec_{absent}"))
        .replace("{key}", &format!("cky_{absent}"))
        .replace("{grant}", &format!("grt_{absent}"))
        .replace("{token}", &format!("svt_{absent}"))
        .replace("{claim}", &format!("clm_{absent}"))
        .replace("{ticket}", &format!("tkt_{absent}"))
        .replace("{switch}", &format!("swt_{absent}"))
        .replace("{tool}", "orders.get")
        .replace("{number}", "999");
    assert!(!path.contains('{'), "{path}");
    let ask = Ask::new(row.method.clone(), path);
    match row.method.as_str() {
        "GET" | "DELETE" => ask,
        _ => ask.json(json!({"unknown": 1})).header("if-match", "\"v0\""),
    }
}

#[tokio::test]
async fn every_role_may_do_on_every_route_what_the_table_says_and_no_more() {
    let platform = Platform::start().await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        let token = match role {
            Role::Platform => platform.root.clone(),
            Role::Owner | Role::Operator | Role::Approver | Role::Auditor | Role::Viewer => {
                platform.token(&platform.acme, "acme", role).await
            }
        };
        tokens.push((role, token));
    }
    let (changes, epoch) = (platform.changes().await, platform.epoch().await);
    let mut tried = 0;
    for row in table() {
        for (role, allowed) in &row.allowed {
            let (_, token) = tokens.iter().find(|(of, _)| of == role).unwrap();
            let reply = platform.send(ask(&row).by(token)).await;
            let what = format!("{role} {} {}: {}", row.method, row.path, reply.status);
            if *allowed {
                assert!(
                    !matches!(reply.status.as_u16(), 401 | 403 | 405 | 500),
                    "{what}"
                );
            } else {
                assert_eq!(reply.status, 403, "{what}");
                let reply = reply.refused(403, "forbidden");
                let remedy = reply.json()["remedy"].as_str().unwrap().to_owned();
                assert!(!remedy.contains(role.as_str()), "{remedy}");
            }
            tried += 1;
        }
        let unsigned = platform.send(ask(&row)).await;
        unsigned.refused(401, "unauthenticated");
    }
    assert_eq!(tried, table().len() * Role::ALL.len());
    // Nothing of all this changed anything.
    assert_eq!(platform.changes().await, changes);
    assert_eq!(platform.epoch().await, epoch);
}
