//! `web.fetchSafe`: one text from a host on the tenant's allow-list.
//!
//! It sends no body, no credential and nothing of the caller but the URL. It must never return more than
//! 64 KiB, anything but text, or what a host that is not listed answered.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use portcullis_domain::{Jurisdiction, Pool};
use portcullis_egress::{
    Client, EgressError, Fetch, FetchError, Fetched, Headers, InternalNetworks, Refusal, Target,
};
use portcullis_redaction::FieldRule;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::catalog::Violation;
use crate::connectors::destination::{self, Asking, Reach, URL, refused};
use crate::connectors::{
    Connector, Effects, Invocation, NATIVE, Refused, ToolError, ToolFuture, ToolOutput, ToolRef,
};

/// The tool's name.
pub const TOOL: &str = "web.fetchSafe";
/// The most bytes of a text, once it is unpacked.
pub const MAX_BYTES: usize = 64 * 1_024;
/// How long a fetch may take, all redirects included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a text may be called besides `text/*` and the suffixes below.
const TEXTS: [&str; 8] = [
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/toml",
    "application/xml",
    "application/x-ndjson",
    "application/x-yaml",
    "application/yaml",
];
const SUFFIXES: [&str; 3] = ["+json", "+xml", "+yaml"];

/// The tool that fetches.
#[derive(Debug)]
pub struct WebFetch {
    client: Arc<Client>,
    networks: Arc<InternalNetworks>,
}

impl WebFetch {
    /// A tool that fetches by this client, inside only what the operator opened to `native` servers.
    pub const fn new(client: Arc<Client>, networks: Arc<InternalNetworks>) -> Self {
        Self { client, networks }
    }

    async fn fetch(&self, invocation: Invocation<'_>) -> Result<ToolOutput, ToolError> {
        let reach = invocation.tool.reach.ok_or(ToolError::NoConnector)?;
        let arguments = invocation.arguments.as_object();
        let target = arguments.and_then(destination::target);
        let fetch = Fetch {
            target: target.ok_or(ToolError::NoConnector)?,
            headers: Headers::new().with(ACCEPT, HeaderValue::from_static("text/*, */*;q=0.5")),
            allowlist: &reach.allowlist,
            allowance: &self.networks.allowance(&reach.tenant, NATIVE),
            watch: invocation.watch,
            max_bytes: MAX_BYTES,
        };
        let deadline = Instant::now() + TIMEOUT;
        let fetched = self.client.fetch(&fetch, deadline).await;
        let fetched = fetched.map_err(|error| failed(*error, reach))?;
        let (media, text) = text(&fetched)?;
        Ok(ToolOutput::read(json!({
            "url": fetched.target.as_str(),
            "status": fetched.status.as_u16(),
            "contentType": media,
            "bytes": fetched.body.len(),
            "redirects": fetched.redirects,
            "text": text,
        })))
    }
}

/// What is the destination's fault is told to the caller; what is the network's, to the log.
fn failed(failure: FetchError, reach: &Reach) -> ToolError {
    let FetchError { hop, target, error } = failure;
    let unfit = |reason: String| {
        let remedy = "Fetch a smaller text, from a server that sends it plain.".to_owned();
        ToolError::Refused(Box::new(Refused { reason, remedy }))
    };
    match error {
        EgressError::Refused(refusal) => {
            let named = may_be_named(hop, &target).then(|| listed_as(&target));
            let asking = Asking {
                tenant: &reach.tenant,
                tool: TOOL,
                host: named.as_deref(),
            };
            let mut refused = refused(refusal, asking);
            if hop > 0 && !is_of_redirects(refusal) {
                refused.reason = format!("after a redirect, {}", refused.reason);
            }
            ToolError::Refused(Box::new(refused))
        }
        error @ (EgressError::TooLarge { .. }
        | EgressError::Encoded
        | EgressError::Bomb { .. }
        | EgressError::Body(_)) => unfit(error.to_string()),
        EgressError::Deadline | EgressError::DeadlineBeforeSend => ToolError::DeadlineExceeded,
        error @ (EgressError::Resolve(_)
        | EgressError::Connect(_)
        | EgressError::Tls(_)
        | EgressError::Request(_)
        | EgressError::Exchange(_)
        | EgressError::SetUp(_)) => ToolError::UpstreamUnreachable(Box::new(error)),
    }
}

/// The first host is the caller's own word. One that a redirect named is told where it is a name of the
/// public tree, so that somebody can list it.
fn may_be_named(hop: usize, target: &Target) -> bool {
    hop == 0 || target.is_public_name()
}

/// How an allow-list writes it.
fn listed_as(target: &Target) -> String {
    match target.port() {
        80 | 443 => target.host(),
        port => format!("{}:{port}", target.host()),
    }
}

const fn is_of_redirects(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Downgrade | Refusal::Redirect | Refusal::TooManyRedirects
    )
}

/// The media type and the text, where it is one.
fn text(fetched: &Fetched) -> Result<(String, &str), ToolError> {
    let unfit = |reason: &str| {
        ToolError::Refused(Box::new(Refused {
            reason: reason.to_owned(),
            remedy: "Fetch a text in UTF-8; this tool returns nothing else.".to_owned(),
        }))
    };
    if fetched.body.is_empty() {
        return Ok((String::new(), ""));
    }
    let media = text_type(&fetched.headers);
    let media =
        media.ok_or_else(|| unfit("what was fetched does not say that it is a text in UTF-8"))?;
    let text = std::str::from_utf8(&fetched.body).ok();
    let text = text.filter(|text| !text.contains('\0'));
    let text =
        text.ok_or_else(|| unfit("what was fetched says that it is a text in UTF-8 and is none"))?;
    Ok((media, text))
}

/// The media type of a text in UTF-8, if the answer says that it is one.
fn text_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let value = value.to_str().ok()?.to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next()?;
    let is_text = media.starts_with("text/")
        || TEXTS.contains(&media)
        || SUFFIXES.iter().any(|suffix| media.ends_with(suffix));
    let plain = parts
        .filter_map(|part| part.strip_prefix("charset="))
        .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"));
    let short = media.len() <= 100 && media.bytes().all(|b| b.is_ascii_graphic());
    (is_text && plain && short).then(|| media.to_owned())
}

impl Connector for WebFetch {
    fn tools(&self) -> Vec<String> {
        vec![TOOL.to_owned()]
    }

    fn effects(&self) -> Effects {
        Effects::External
    }

    fn check(&self, _tool: ToolRef<'_>, arguments: &Map<String, Value>) -> Result<(), Violation> {
        let url = arguments.get(URL).and_then(Value::as_str);
        match Target::parse(url.unwrap_or_default()) {
            Ok(_target) => Ok(()),
            Err(error) => Err(Violation {
                field: URL.to_owned(),
                rule: error.to_string(),
                keyword: "portcullis-url".to_owned(),
            }),
        }
    }

    fn obligations(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Vec<FieldRule> {
        Vec::new()
    }

    fn region(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Option<Jurisdiction> {
        None
    }

    fn host(&self, _tool: ToolRef<'_>, _pool: Pool, arguments: &Value) -> Option<String> {
        Some(destination::target(arguments.as_object()?)?.host())
    }

    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> ToolFuture<'a> {
        Box::pin(self.fetch(invocation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(content_type: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        text_type(&headers)
    }

    #[test]
    fn texts_in_utf_8_are_known_by_what_they_say() {
        for text in [
            "text/plain",
            "text/html; charset=utf-8",
            "Text/HTML;Charset=\"UTF-8\"",
            "application/json",
            "application/problem+json; charset=us-ascii",
            "application/xhtml+xml",
        ] {
            assert!(said(text).is_some(), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_text() {
        for other in [
            "",
            "application/octet-stream",
            "image/svg",
            "image/png",
            "application/pdf",
            "text/html; charset=iso-8859-1",
            "text/html; charset=utf-16",
            "multipart/form-data",
            "application/jsonp",
        ] {
            assert!(said(other).is_none(), "{other}");
        }
        assert!(text_type(&HeaderMap::new()).is_none());
        let mut twice = HeaderMap::new();
        twice.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        twice.append(CONTENT_TYPE, HeaderValue::from_static("application/pdf"));
        assert!(text_type(&twice).is_none());
    }
}
