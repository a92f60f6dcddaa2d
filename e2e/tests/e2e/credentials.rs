//! How clients prove who they are: secrets that are rotated while they are in use, and keys whose private
//! half the platform never sees.

use portcullis_e2e::bridge::Bridge;
use portcullis_e2e::forge::{self, ClientKey};
use portcullis_e2e::shell::{self, Ran};
use portcullis_e2e::{Grants, Http, Options, Platform, Replica, Reply};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn cli(platform: &Platform, line: &str) -> Ran {
    let (binary, operator) = (platform.binary(), platform.data().join("operator.json"));
    let script = format!(
        "{} {line} --operator-file {}",
        binary.display(),
        operator.display()
    );
    shell::run(&script, binary).unwrap()
}

async fn token(platform: &Platform, id: &str, secret: &str) -> Reply {
    let request = Http::new()
        .unwrap()
        .post(&format!("{}/oauth/token", platform.url()))
        .basic_auth(id, Some(secret))
        .form(&[("grant_type", "client_credentials")]);
    Reply::to(request).await.unwrap()
}

#[tokio::test]
async fn a_rotated_secret_works_on_for_its_overlap_and_no_longer() {
    let platform = Platform::shared().unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let rotate = |overlap: &str| {
        let line = format!(
            "principal secret rotate --tenant acme {} --overlap {overlap} --json",
            agent.name
        );
        let ran = cli(platform, &line);
        assert!(ran.success, "{}", ran.err);
        let made: Value = serde_json::from_str(&ran.out).unwrap();
        made["client_secret"].as_str().unwrap().to_owned()
    };
    let works = async |secret: &str| token(platform, &agent.client_id, secret).await.status;
    let second = rotate("3s");
    assert_eq!(works(&agent.client_secret).await, 200);
    assert_eq!(works(&second).await, 200);
    for _ in 0..200 {
        if works(&agent.client_secret).await == 401 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(works(&agent.client_secret).await, 401);
    assert_eq!(works(&second).await, 200);
    let third = rotate("0s");
    assert_eq!(works(&second).await, 401);
    assert_eq!(works(&third).await, 200);
}

#[tokio::test]
async fn a_key_that_was_made_here_gets_tokens_for_the_command_line_and_for_a_host() {
    let platform = Platform::shared().unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("key.pem");
    let create = format!(
        "principal key create --tenant acme {} --out {} --json",
        agent.name,
        pem.display()
    );
    let ran = cli(platform, &create);
    assert!(ran.success && !ran.out.contains("PRIVATE"), "{}", ran.err);
    let key: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(key["jwk"]["d"].is_null(), "{key}");
    let ask = format!(
        "token --tenant acme --client-id {} --private-key {}",
        agent.client_id,
        pem.display()
    );
    for _ in 0..3 {
        let ran = cli(platform, &ask);
        assert!(ran.success && ran.out.starts_with("eyJ"), "{}", ran.err);
    }
    let file = folder.path().join("connection.json");
    let connection = json!({
        "url": agent.mcp_url(), "client_id": agent.client_id, "private_key_file": pem,
    });
    std::fs::write(&file, connection.to_string()).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    let mut bridge = Bridge::start(platform, &["--connection", file]).unwrap();
    let answer = bridge.ask(1, "tools/list", json!({})).await.unwrap();
    assert!(answer["result"]["tools"].is_array(), "{answer}");
    // Revoked, it gets nothing more.
    let revoke = format!(
        "principal key revoke --tenant acme {} {}",
        agent.name,
        key["id"].as_str().unwrap()
    );
    assert!(cli(platform, &revoke).success);
    let ran = cli(platform, &ask);
    assert!(
        !ran.success && ran.err.contains("invalid_client"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_uses_of_one_assertion_over_three_replicas_one_is_accepted() {
    let platform = Platform::start_with(Options::default().roomy())
        .await
        .unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let key = ClientKey::of([7; 32]);
    let owner = platform.owner("acme").unwrap();
    let keys = format!("/tenants/acme/principals/{}/keys", agent.name);
    owner
        .create(&keys, &json!({"jwk": key.jwk()}))
        .await
        .unwrap();
    let replicas = [
        Replica::beside(&platform).await.unwrap(),
        Replica::beside(&platform).await.unwrap(),
    ];
    let urls = [
        platform.url().to_owned(),
        replicas[0].url(),
        replicas[1].url(),
    ];
    let http = Http::new().unwrap();
    // The platform's own clock.
    let token = agent.token().await.unwrap();
    let now = forge::claims(&token).unwrap()["iat"].as_i64().unwrap();
    for round in 0..2 {
        let assertion = key.assertion(&json!({
            "iss": agent.client_id, "sub": agent.client_id, "aud": platform.url(),
            "jti": format!("round {round}"), "exp": now + 60,
        }));
        let mut uses = JoinSet::new();
        for number in 0..9 {
            let url = format!("{}/oauth/token", urls[number % 3]);
            let request = http.post(&url).form(&[
                ("grant_type", "client_credentials"),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", &assertion),
            ]);
            uses.spawn(async move { Reply::to(request).await.unwrap() });
        }
        let replies = uses.join_all().await;
        let accepted = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(accepted, 1, "round {round}");
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            assert_eq!(reply.status, 401, "{}", reply.told());
        }
    }
}
