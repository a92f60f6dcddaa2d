//! The dashboard and the alert rules in `infra` ask for metrics and labels that a running replica emits,
//! and for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use portcullis_e2e::{Http, Management, Options, Platform, Reply};
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Value, json};

use crate::answers::week;

/// What Prometheus itself adds to every series.
const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];

fn infra(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("infra").join(path)).unwrap()
}

/// The expressions of the alert rules, by alert.
fn rules() -> Vec<(String, String)> {
    let text = infra("prometheus/portcullis.rules.yml");
    let documents = Yaml::load_from_str(&text).unwrap();
    let mut found = Vec::new();
    for group in documents[0]["groups"].as_sequence().unwrap() {
        for rule in group["rules"].as_sequence().unwrap() {
            let text = |key: &str| rule[key].as_str().unwrap().to_owned();
            let words = &rule["annotations"];
            for said in ["summary", "description"] {
                assert!(words[said].as_str().is_some(), "{}: {said}", text("alert"));
            }
            assert!(rule["labels"]["severity"].as_str().is_some());
            found.push((text("alert"), text("expr")));
        }
    }
    found
}

/// The expressions of the dashboard, by panel.
fn panels() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&infra("grafana/portcullis.json")).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression
                .replace("$__rate_interval", "5m")
                .replace("$instance", ".*");
            found.push((panel["title"].to_string(), expression));
        }
    }
    found
}

/// The names of an expression and the labels that are asked for on each.
#[derive(Default)]
struct Asked(BTreeMap<String, BTreeSet<String>>);

impl Asked {
    fn of(expression: &Expr) -> Self {
        let mut asked = Self::default();
        walk_expr(&mut asked, expression).unwrap();
        asked
    }

    fn select(&mut self, selector: &VectorSelector) {
        let labels = self.0.entry(selector.name.clone().unwrap()).or_default();
        labels.extend(
            selector
                .matchers
                .matchers
                .iter()
                .map(|matcher| matcher.name.clone()),
        );
    }

    /// Labels that are named around an expression belong to each series in it.
    fn around(&mut self, expression: &Expr, labels: &[String]) {
        for name in Self::of(expression).0.into_keys() {
            self.0
                .entry(name)
                .or_default()
                .extend(labels.iter().cloned());
        }
    }
}

impl ExprVisitor for Asked {
    type Error = String;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, String> {
        match expression {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(selector) => self.select(&selector.vs),
            Expr::Aggregate(aggregate) => {
                if let Some(by) = &aggregate.modifier {
                    self.around(&aggregate.expr, &by.labels().labels);
                }
            }
            Expr::Binary(binary) => {
                let modifier = binary.modifier.as_ref();
                if let Some(labels) = modifier.and_then(|modifier| modifier.matching.as_ref()) {
                    // `ignoring` names labels of one side.
                    self.around(&binary.lhs, &labels.labels().labels);
                }
            }
            Expr::Call(_)
            | Expr::Extension(_)
            | Expr::NumberLiteral(_)
            | Expr::Paren(_)
            | Expr::StringLiteral(_)
            | Expr::Subquery(_)
            | Expr::Unary(_) => {}
        }
        Ok(true)
    }
}

/// The series of a text by name, and the labels that some of them bear.
fn emitted(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = line.split(" # ").next().unwrap();
        let end = line.find(['{', ' ']).unwrap();
        let (name, rest) = line.split_at(end);
        let labels = found.entry(name.to_owned()).or_default();
        let inner = rest.split('}').next().unwrap();
        let inner = inner.trim_start_matches('{');
        for pair in inner.split("\",") {
            if let Some((label, _)) = pair.split_once("=\"") {
                labels.insert(label.to_owned());
            }
        }
    }
    found
}

/// Calls, refusals, a failure at the door, and a switch that is down.
async fn make_calls(platform: &Platform) {
    let client = platform.caller("acme").await.unwrap();
    for _ in 0..3 {
        client.call("orders.export", week()).await.unwrap();
    }
    client
        .call("orders.export", json!({"evil": 1}))
        .await
        .unwrap();
    client.call("made.up.name", json!({})).await.unwrap();
    let nobody = Http::new().unwrap().post(client.url()).json(&json!({}));
    Reply::to(nobody).await.unwrap();
    let token = platform.operator().owner_token("acme").unwrap();
    let owner = Management::new(platform.url(), token).unwrap();
    let switch = json!({"kind": "tenant-read-only", "reason": "A test"});
    owner
        .create("/tenants/acme/switches", &switch)
        .await
        .unwrap();
    // The replica answers the drop once it has heard of it.
    client
        .call("orders.get", json!({"orderId": "none"}))
        .await
        .unwrap();
}

#[tokio::test]
async fn every_metric_and_label_of_dashboard_and_rules_is_emitted_by_a_replica() {
    let platform = Platform::start_with(Options::default()).await.unwrap();
    make_calls(&platform).await;
    let url = format!("{}/metrics", platform.admin().unwrap());
    let text = Reply::to(Http::new().unwrap().get(&url))
        .await
        .unwrap()
        .text();
    let emitted = emitted(&text);
    let (rules, panels) = (rules(), panels());
    assert!(rules.len() >= 12 && panels.len() >= 20);
    let mut asked_for = BTreeSet::new();
    for (whose, expression) in rules.iter().chain(&panels) {
        let parsed = parser::parse(expression);
        let parsed = parsed.unwrap_or_else(|error| panic!("{whose}: {error}"));
        let asked = Asked::of(&parsed).0;
        assert!(!asked.is_empty(), "{whose} asks for nothing");
        for (name, labels) in asked {
            let has = emitted.get(&name);
            let has = has.unwrap_or_else(|| panic!("{whose}: {name} is not emitted:\n{text}"));
            for label in labels {
                let known = has.contains(&label) || OF_THE_SCRAPE.contains(&label.as_str());
                assert!(known, "{whose}: {name} has no label {label}, but {has:?}");
            }
            asked_for.insert(name);
        }
    }
    // And the other way: a family that nobody looks at is not worth emitting.
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for family in families.map(|family| family.split(' ').next().unwrap()) {
        let seen = asked_for.iter().any(|name| name.starts_with(family));
        assert!(
            seen || family == "portcullis_build",
            "nothing shows {family}"
        );
    }
}

#[test]
fn an_expression_for_something_else_would_be_found() {
    let asked = |text: &str| Asked::of(&parser::parse(text).unwrap()).0;
    let found = asked(r#"sum by (tool) (rate(a_total{x="1"}[5m])) / ignoring (state) b > 1"#);
    let of = |name: &str| found[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("a_total"), ["state", "tool", "x"]);
    assert!(of("b").is_empty());
    let emitted = emitted("# TYPE a counter\na_total{x=\"y\",z=\"{}, \"} 1 # {trace_id=\"1\"} 2\n");
    assert_eq!(emitted["a_total"].len(), 2);
    assert!(parser::parse("sum by (tool) (rate(a_total[5m])").is_err());
}
