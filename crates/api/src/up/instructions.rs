//! What is told once the platform serves: to people, commands that work as they are printed; to
//! programs, one line of JSON. Secrets are named by their files, never printed.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What there is to tell.
#[derive(Debug)]
pub(super) struct Ready {
    /// The platform's outside address.
    pub(super) origin: String,
    /// The address that is listened on.
    pub(super) listen: String,
    /// The origin of HTTPS.
    pub(super) https: Option<String>,
    /// Where metrics and health are.
    pub(super) admin: Option<String>,
    /// The authority that clients of HTTPS are to trust.
    pub(super) ca_file: PathBuf,
    /// The data folder.
    pub(super) data: PathBuf,
    /// The configuration file.
    pub(super) config: PathBuf,
    /// The operator's credentials.
    pub(super) operator: PathBuf,
    /// Whether the command line finds them by itself.
    pub(super) operator_is_default: bool,
    /// The program itself.
    pub(super) program: PathBuf,
    /// The tenants, in the order to show.
    pub(super) tenants: Vec<ReadyTenant>,
    /// Idempotency keys that nobody has used, for two changes.
    pub(super) keys: [String; 2],
}

/// A tenant to try.
#[derive(Debug)]
pub(super) struct ReadyTenant {
    /// Its name in URLs.
    pub(super) slug: String,
    /// Its home pool.
    pub(super) home: &'static str,
    /// The principal to try it with.
    pub(super) principal: String,
    /// That principal's OAuth client id.
    pub(super) client_id: String,
    /// A file of `curl` options with client id and secret.
    pub(super) curl_file: PathBuf,
    /// A file with its endpoint and credentials, which a host's configuration names.
    pub(super) connection_file: PathBuf,
    /// One of its orders.
    pub(super) order: String,
}

impl Ready {
    /// `curl`, told whom to trust where that is needed.
    fn curl(&self) -> String {
        if self.origin.starts_with("https:") {
            format!("curl -s --cacert {}", quoted(&self.ca_file))
        } else {
            "curl -s".to_owned()
        }
    }

    fn mcp(&self, tenant: &str) -> String {
        format!("{}/t/{tenant}/mcp", self.origin)
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> Value {
        let tenants: Vec<_> = self
            .tenants
            .iter()
            .map(|tenant| {
                json!({
                    "slug": tenant.slug,
                    "home": tenant.home,
                    "mcp_url": self.mcp(&tenant.slug),
                    "principal": tenant.principal,
                    "client_id": tenant.client_id,
                    "curl_file": tenant.curl_file,
                    "connection_file": tenant.connection_file,
                    "order": tenant.order,
                })
            })
            .collect();
        json!({
            "public_url": self.origin,
            "listen": self.listen,
            "https": self.https,
            "admin": self.admin,
            "ca_file": self.ca_file,
            "data_dir": self.data,
            "config": self.config,
            "operator_file": self.operator,
            "tenants": tenants,
        })
    }

    /// Instructions for people, to be copied as they are.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\nPortcullis serves at {}\n\n", self.origin);
        for tenant in &self.tenants {
            let (slug, home) = (&tenant.slug, tenant.home);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {slug:<8} {}   home {home}", self.mcp(slug));
        }
        if let Some(https) = &self.https {
            let ca = quoted(&self.ca_file);
            let _ = writeln!(text, "\n  HTTPS    {https}   trust {ca}");
        }
        if let Some(admin) = &self.admin {
            let _ = writeln!(text, "  metrics  {admin}/metrics   health {admin}/health");
        }
        if let [own, other, ..] = self.tenants.as_slice() {
            text.push_str(&self.tokens(own, other));
            text.push_str(&self.calls(own, other));
            text.push_str(&self.changes(own));
            text.push_str(&self.host(own));
        }
        let _ = write!(
            text,
            "\nData, keys and logs: {}\nCtrl-C stops everything that was started.\n",
            self.data.display()
        );
        text
    }

    /// A command of this program, as the operator of this machine.
    fn command(&self, what: &str) -> String {
        let program = quoted(&self.program);
        if self.operator_is_default {
            format!("{program} {what}")
        } else {
            format!(
                "{program} {what} --operator-file {}",
                quoted(&self.operator)
            )
        }
    }

    fn tokens(&self, own: &ReadyTenant, other: &ReadyTenant) -> String {
        let command = |tenant: &ReadyTenant| {
            let whose = format!("--tenant {} --principal {}", tenant.slug, tenant.principal);
            self.command(&format!("token {whose}"))
        };
        format!(
            "\nIn another shell, get access tokens (they last ten minutes):\n\n\
             \x20 ACME=$({})\n\
             \x20 GLOBEX=$({})\n\n\
             The first without this program: the OAuth client is {}, its secret is in the file.\n\n\
             \x20 ACME=$({} -K {} -d grant_type=client_credentials -d resource={} {}/oauth/token \
             | sed -E 's/.*\"access_token\": ?\"([^\"]+)\".*/\\1/')\n",
            command(own),
            command(other),
            own.client_id,
            self.curl(),
            quoted(&own.curl_file),
            self.mcp(&own.slug),
            self.origin,
        )
    }

    fn calls(&self, own: &ReadyTenant, other: &ReadyTenant) -> String {
        let week = r#""from":"2025-08-25","to":"2025-08-31""#;
        let tools = |tenant: &ReadyTenant, tool: &str, token: &str, body: &str| {
            format!(
                "  {} {}/t/{}/tools/{tool} -H \"Authorization: Bearer ${token}\" \
                 -H 'Content-Type: application/json' -d '{body}'\n",
                self.curl(),
                self.origin,
                tenant.slug
            )
        };
        let mcp = self.call(own, "orders.export", &format!("{{{week}}}"));
        let unknown = format!("{{{week},\"evil\":\"oops\"}}");
        let foreign = format!("{{\"orderId\":\"{}\"}}", own.order);
        [
            "\nA week of orders, e-mail addresses masked: over HTTP, then over MCP.\n\n".to_owned(),
            tools(own, "orders.export", "ACME", &format!("{{{week}}}")),
            mcp,
            "\nRefused: a field that the schema does not know.\n\n".to_owned(),
            tools(own, "orders.export", "ACME", &unknown),
            "\nGlobex's token at acme's gate (401); acme's order asked for by globex (as if absent).\n\n"
                .to_owned(),
            tools(own, "orders.export", "GLOBEX", &format!("{{{week}}}")),
            tools(other, "orders.get", "GLOBEX", &foreign),
        ]
        .concat()
    }

    fn changes(&self, own: &ReadyTenant) -> String {
        let flag = r#""name":"checkout_v2""#;
        let [first, second] = &self.keys;
        let staging = self.call(
            own,
            "flag.set",
            &format!(r#"{{{flag},"env":"staging","rolloutPct":25,"idemKey":"{first}"}}"#),
        );
        let half = format!(r#"{flag},"env":"prod","rolloutPct":50,"idemKey":"{second}""#);
        let denied = self.call(own, "flag.set", &format!("{{{half}}}"));
        let ticket = self.command(&format!(
            "ticket open --tenant {} --tool flag.set --arg name=checkout_v2 --arg env=prod \
             --reason Launch --json",
            own.slug
        ));
        let agreed = format!("{{{half},\"ticket\":\"'$TICKET'\"}}");
        [
            "\nA flag for a quarter of staging. The same call again, with the same key, is answered\n\
             `OK (idempotent)` and changes nothing.\n\n",
            staging.as_str(),
            staging.as_str(),
            "\nHalf of production is denied without a change ticket. A person opens one; then it runs.\n\n",
            denied.as_str(),
            format!("  TICKET=$({ticket} | sed -n 's/.*\"id\": *\"\\([^\"]*\\)\".*/\\1/p')\n").as_str(),
            self.call(own, "flag.set", &agreed).as_str(),
        ]
        .concat()
    }

    /// What an MCP host needs. The bridge renews its tokens, so this goes on working.
    fn host(&self, own: &ReadyTenant) -> String {
        let server = json!({
            "command": self.program,
            "args": ["stdio", "--connection", own.connection_file],
        });
        format!(
            "\nAn MCP host on this machine: put this into its configuration.\n\n\
             \x20 {}\n",
            json!({"mcpServers": {format!("portcullis-{}", own.slug): server}}),
        )
    }

    /// A call over MCP.
    fn call(&self, tenant: &ReadyTenant, tool: &str, arguments: &str) -> String {
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
        format!(
            "  {} {} -H \"Authorization: Bearer $ACME\" -H 'Content-Type: application/json' \
             -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2026-07-28' \
             -H 'Mcp-Method: tools/call' -H 'Mcp-Name: {tool}' \
             -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\
             \"arguments\":{arguments},{meta}}}}}'\n",
            self.curl(),
            self.mcp(&tenant.slug)
        )
    }
}

/// A path as a shell reads it back.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    if plain {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Ready {
        let tenant = |slug: &str, home| ReadyTenant {
            slug: slug.to_owned(),
            home,
            principal: "agent:copilot".to_owned(),
            client_id: "prn_0".to_owned(),
            curl_file: PathBuf::from("/data/clients/x.curl"),
            connection_file: PathBuf::from("/data/clients/x.json"),
            order: "ord_1".to_owned(),
        };
        Ready {
            origin: "http://127.0.0.1:8420".to_owned(),
            listen: "127.0.0.1:8420".to_owned(),
            https: Some("https://127.0.0.1:8421".to_owned()),
            admin: Some("http://127.0.0.1:8422".to_owned()),
            ca_file: PathBuf::from("/my data/tls/ca.pem"),
            data: PathBuf::from("/data"),
            config: PathBuf::from("/data/portcullis.toml"),
            operator: PathBuf::from("/my data/operator.json"),
            operator_is_default: false,
            program: PathBuf::from("/bin/portcullis"),
            tenants: vec![tenant("acme", "eu-west"), tenant("globex", "us-east")],
            keys: ["k-1", "k-2"].map(str::to_owned),
        }
    }

    #[test]
    fn paths_with_spaces_survive_the_shell() {
        assert_eq!(quoted(Path::new("/a b/c'd")), r"'/a b/c'\''d'");
        assert!(
            ready()
                .text()
                .contains("--operator-file '/my data/operator.json'")
        );
    }

    #[test]
    fn every_command_stands_on_one_line() {
        let text = ready().text();
        let commands: Vec<_> = text
            .lines()
            .filter(|line| line.contains("curl -s"))
            .collect();
        assert_eq!(commands.len(), 10, "{text}");
        for command in commands {
            assert_eq!(command.matches('\'').count() % 2, 0, "{command}");
        }
    }
}
