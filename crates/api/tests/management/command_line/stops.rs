//! Tools of other systems, the hosts that they may call, kill switches and the platform's own records, on
//! the command line.

use portcullis_domain::id::Id;
use portcullis_store::replicas::{self, Presence};
use serde_json::Value;

use super::Shell;
use crate::egress::registration;
use crate::platform::{at, id};

/// A server with a tenant whose owner's token the operator file holds.
async fn initech() -> Shell {
    let shell = Shell::start().await;
    for line in [
        "tenant create initech --home eu-west",
        "service-token create --tenant initech --role owner --save",
    ] {
        shell.run(line).await.ok();
    }
    shell
}

impl Shell {
    /// A file with a service token of the tenant, as another person has it.
    async fn person(&self, role: &str) -> String {
        let file = self.path(&format!("{role}-{}", id::<portcullis_domain::id::Record>()));
        let file = file.to_str().unwrap().to_owned();
        let line = format!("service-token create --tenant initech --role {role} --out {file}");
        self.run(&line).await.ok();
        file
    }

    /// Runs a command as that person.
    async fn run_as(&self, person: &str, line: &str) -> super::Outcome {
        let more = ["--server", &self.url, "--token-file", person];
        self.run_with(line, &more).await
    }
}

#[tokio::test]
async fn a_tool_of_another_system_is_added_given_a_version_and_disabled() {
    let shell = initech().await;
    let set = "egress set --tenant initech api.example.com billing.example.com:8443 --json";
    let hosts = shell.run(set).await.json();
    assert_eq!(hosts["hosts"][1], "billing.example.com:8443");
    let shown = shell.run("egress show --tenant initech").await.ok().out;
    assert!(
        shown.contains("api.example.com, billing.example.com:8443"),
        "{shown}"
    );
    let file = shell.file("tool.json", &registration().to_string());
    let add = format!("tool add --tenant initech -f {file}");
    let made = shell.run(&format!("{add} --json")).await.json();
    assert_eq!(
        (&made["connector"], &made["current_version"]),
        (&"http".into(), &1.into())
    );
    let mut again = registration();
    again["config"]["path"] = "/v2/orders/{orderId}/refunds".into();
    shell.file("tool.json", &again.to_string());
    let added = shell.run(&add).await.ok().out;
    let version = added.lines().find(|line| line.contains("version")).unwrap();
    assert!(version.trim().ends_with('2'), "{added}");
    let off = "tool disable --tenant initech orders.refund --json";
    assert_eq!(shell.run(off).await.json()["enabled"], false);
    let shown = shell
        .run("tool show --tenant initech orders.refund")
        .await
        .ok()
        .out;
    assert!(shown.contains("http") && shown.contains("false"), "{shown}");
}

#[tokio::test]
async fn a_tool_or_a_host_that_does_not_hold_is_refused_by_field_and_by_role() {
    let shell = initech().await;
    let mut inside = registration();
    inside["config"]["base_urls"]["eu-west"] = "https://127.0.0.1".into();
    inside["definition"]["egress"] = serde_json::json!(["127.0.0.1"]);
    let file = shell.file("tool.json", &inside.to_string());
    let add = format!("tool add --tenant initech -f {file}");
    shell.run(&add).await.fails(1, "base_urls");
    shell.file("tool.json", "{\"definition\": 1}");
    shell.run(&add).await.fails(2, "tool.json");
    shell.file("tool.json", &registration().to_string());
    let viewer = shell.person("viewer").await;
    shell
        .run_as(&viewer, &add)
        .await
        .fails(4, "owner, operator");
    let set = "egress set --tenant initech api.example.com";
    shell.run_as(&viewer, set).await.fails(4, "owner");
    shell
        .run("egress set --tenant initech https://x/y")
        .await
        .fails(1, "hosts");
    let list = shell.run("tool list --tenant initech").await.ok().out;
    assert!(!list.contains("orders.refund"), "{list}");
}

#[tokio::test]
async fn two_people_lift_a_switch_and_the_first_is_told_that_it_is_still_down() {
    let shell = initech().await;
    shell
        .run("tenant update initech --two-person-lift true")
        .await
        .ok();
    let (first, second) = (
        shell.person("operator").await,
        shell.person("operator").await,
    );
    let drop = "switch drop tenant-freeze --tenant initech --reason Incident --json";
    let dropped = shell.run_as(&first, drop).await.json();
    let switch = dropped["switch"]["id"].as_str().unwrap();
    let lift = format!("switch lift {switch} --tenant initech --reason Over");
    let asked = shell.run_as(&first, &lift).await;
    assert!(asked.out.contains("down, lift requested"), "{}", asked.out);
    asked.fails(5, "second person");
    // Asking twice makes nobody two people.
    shell.run_as(&first, &lift).await.fails(1, "second person");
    let status = shell.run("switch status --tenant initech").await.ok().out;
    assert!(status.contains("down, lift requested"), "{status}");
    let lifted = shell
        .run_as(&second, &format!("{lift} --json"))
        .await
        .json();
    assert_eq!(lifted["switch"]["state"], "lifted");
    shell
        .run_as(&second, &lift)
        .await
        .fails(1, "lifted already");
}

#[tokio::test]
async fn a_drop_that_a_replica_never_confirms_ends_with_a_code_of_its_own() {
    let shell = initech().await;
    let presence = Presence {
        replica: id(),
        started_at: at(0),
    };
    let old = shell.platform.epoch().await;
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(300));
    // It is heard of all the while, and does not get on.
    let stuck = async {
        loop {
            pause.tick().await;
            let control = &shell.platform.control;
            replicas::poll(control, presence, Some(old)).await.unwrap();
        }
    };
    let drop = "switch drop tenant-read-only --tenant initech --reason Incident --json";
    let dropped = tokio::select! {
        dropped = shell.run(drop) => dropped,
        () = stuck => panic!("it never ends"),
    };
    let told: Value = serde_json::from_str(&dropped.out).unwrap();
    assert_eq!(told["propagation"]["acknowledged"], false);
    assert_eq!(told["switch"]["state"], "down");
    let replica = told["propagation"]["replicas"][0]["replica"]
        .as_str()
        .unwrap();
    assert_eq!(replica.parse::<Id<_>>().unwrap(), presence.replica);
    dropped.fails(5, "not every replica has confirmed");
}

#[tokio::test]
async fn the_platforms_records_are_the_platforms_alone_and_no_tenant_is_named_with_them() {
    let shell = initech().await;
    let lately = "records --platform --from 2020-01-01T00:00:00Z";
    // Nobody takes changes to the ledger here: there are none, and that is no refusal.
    let none = shell.run(&format!("{lately} --json")).await.json();
    assert_eq!(none, serde_json::json!([]));
    let owner = shell.person("owner").await;
    shell.run_as(&owner, lately).await.fails(4, "platform");
}
