//! What a hostile server answers: redirects, bombs, and nothing for a long time.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use portcullis_egress::{
    Allowlist, Client, EgressError, Fetch, FetchError, Fetched, HeaderRefusal, Headers, Refusal,
    Target, TcpDial, Unwatched,
};
use tokio::time::Instant;

use super::reach::{MOST, Scripted, Silent, client, opened};
use crate::faults::Row;
use crate::web::{Answer, CODINGS, Web};

/// What a bomb unpacks to.
const BOMB: u64 = 10 * 1_024 * 1_024 * 1_024;
/// What a bomb may cost.
const BOMB_KIB: u64 = 32 * 1_024;
/// What an end may come later than the deadline.
const LATE: Duration = Duration::from_millis(250);
const DEADLINE: Duration = Duration::from_millis(500);

async fn fetch(
    client: &Client,
    web: &Web,
    path: &str,
    within: Duration,
) -> Result<Result<Fetched, Box<FetchError>>> {
    let port = web.port();
    let list = Allowlist::read(&[format!("site.example.com:{port}")])?;
    let fetch = Fetch {
        target: Target::parse(&format!("http://site.example.com:{port}{path}"))?,
        headers: Headers::new(),
        allowlist: &list,
        allowance: &opened(&[port])?,
        watch: &Unwatched,
        max_bytes: MOST,
    };
    Ok(client.fetch(&fetch, Instant::now() + within).await)
}

fn local() -> Result<Client> {
    client(Scripted(vec![[127, 0, 0, 1].into()]), &Arc::new(TcpDial))
}

/// Where a redirect must never lead.
const NOWHERE: [&str; 20] = [
    "http://127.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://[fd00:ec2::254]/",
    "http://10.0.0.1:8080/",
    "http://localhost/",
    "http://metadata.google.internal/",
    "http://other.example.com/",
    "//other.example.com/",
    "https://site.example.com.evil.net/",
    "http://site.example.com@127.0.0.1/",
    "http://127.0.0.1\\@site.example.com/",
    "http:\\\\127.0.0.1\\",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://127.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://site.example.com/",
    "javascript:alert(1)",
];

/// Redirects: each to a place that is refused, and one that is followed.
pub(super) async fn redirects() -> Result<Row> {
    let web = Web::start(|path| {
        let number = path.trim_start_matches('/').parse::<usize>();
        match number.ok().and_then(|number| NOWHERE.get(number)) {
            Some(place) => Answer::redirect(place),
            None if path == "/good" => Answer::redirect("/end"),
            None if path == "/round" => Answer::redirect("/round"),
            None => Answer::text("the end"),
        }
    })
    .await?;
    let client = local()?;
    let wait = Duration::from_secs(5);
    let mut followed = Vec::new();
    for (number, place) in NOWHERE.iter().enumerate() {
        let ended = fetch(&client, &web, &format!("/{number}"), wait).await?;
        if !matches!(
            ended.map_err(|error| error.error),
            Err(EgressError::Refused(_))
        ) {
            followed.push(*place);
        }
    }
    let good = fetch(&client, &web, "/good", wait).await?;
    let round = fetch(&client, &web, "/round", wait).await?.err();
    let mut row = Row::new("redirects", NOWHERE.len() + 2).seen(format!(
        "{} of {} refused, 1 to the same host followed, a circle left after 3",
        NOWHERE.len() - followed.len(),
        NOWHERE.len()
    ));
    row.promise(followed.is_empty(), || format!("followed: {followed:?}"));
    let reached = good.is_ok_and(|good| good.body == "the end" && good.redirects == 1);
    row.promise(reached, || "the good redirect was not followed".to_owned());
    let left = round.is_some_and(|round| {
        matches!(round.error, EgressError::Refused(Refusal::TooManyRedirects))
    });
    row.promise(left, || "the circle did not end".to_owned());
    Ok(row)
}

/// Headers that a configuration may not send.
const HEADERS: [(&str, &str); 26] = [
    ("Metadata", "true"),
    ("Metadata-Flavor", "Google"),
    ("Metadata_Flavor", "Google"),
    ("X-Google-Metadata-Request", "True"),
    ("X-aws-ec2-metadata-token", "x"),
    ("X-aws-ec2-metadata-token-ttl-seconds", "60"),
    ("Host", "169.254.169.254"),
    ("hOsT", "evil"),
    ("Connection", "keep-alive"),
    ("Keep-Alive", "x"),
    ("Proxy-Authorization", "x"),
    ("Proxy-Connection", "x"),
    ("TE", "trailers"),
    ("Trailer", "x"),
    ("Transfer-Encoding", "chunked"),
    ("Transfer_Encoding", "chunked"),
    ("Upgrade", "h2c"),
    ("Content-Length", "0"),
    ("Expect", "100-continue"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Original-URL", "/admin"),
    ("Accept-Encoding", "gzip"),
    ("X-A", "b\r\nHost: evil"),
    ("X-A", "b\nMetadata: true"),
    ("X-A\r\nHost", "evil"),
    ("X-A: b", "c"),
];

/// Header injection by a configuration, and what really goes out.
pub(super) async fn headers() -> Result<Row> {
    let mut taken = Vec::new();
    for (name, value) in HEADERS {
        let answer: Result<(), HeaderRefusal> = Headers::new().configured(name, value);
        if answer.is_ok() {
            taken.push(name);
        }
    }
    let web = Web::start(|_path| Answer::text("x")).await?;
    fetch(&local()?, &web, "/a?b=c", Duration::from_secs(5)).await??;
    let sent = web.requests().concat().to_ascii_lowercase();
    let names: Vec<_> = sent
        .lines()
        .skip(1)
        .filter_map(|line| line.split(':').next())
        .collect();
    let mut row = Row::new("header injection", HEADERS.len()).seen(format!(
        "{} of {} refused; a fetch sends {} headers, none of the caller's",
        HEADERS.len() - taken.len(),
        HEADERS.len(),
        names.iter().filter(|name| !name.is_empty()).count()
    ));
    row.promise(taken.is_empty(), || format!("taken: {taken:?}"));
    let known = ["host", "connection", "accept-encoding", "user-agent", ""];
    let own = names.iter().all(|name| known.contains(name));
    row.promise(own, || format!("sent: {names:?}"));
    let host = format!("host: site.example.com:{}\r\n", web.port());
    row.promise(sent.contains(&host), || "the Host was not kept".to_owned());
    Ok(row)
}

/// Bombs of ten gigabytes, and what they cost this process, the bomb's server included.
pub(super) async fn bombs() -> Result<Vec<Row>> {
    let web = Web::start(|path| {
        let coding = CODINGS
            .into_iter()
            .find(|coding| path == format!("/{coding}"));
        Answer::Zeros(coding, BOMB)
    })
    .await?;
    let client = local()?;
    let mut rows = Vec::new();
    for kind in CODINGS.into_iter().chain(["plain"]) {
        let before = forget_peak()?;
        let begun = Instant::now();
        let ended = fetch(&client, &web, &format!("/{kind}"), Duration::from_secs(20)).await?;
        let took = begun.elapsed();
        let cost = memory("VmHWM")?.saturating_sub(before);
        let mut row = Row::new(&format!("bomb of 10 GiB, {kind}"), 1).seen(format!(
            "cut off after {} ms, {:.1} MiB at its peak, its server included",
            took.as_millis(),
            kib_as_mib(cost)
        ));
        let cut = ended.map_err(|error| error.error);
        let cut = matches!(
            cut,
            Err(EgressError::Bomb { .. } | EgressError::TooLarge { .. })
        );
        row.promise(cut, || "it was not refused for its size".to_owned());
        row.promise(cost <= BOMB_KIB, || format!("it cost {cost} KiB"));
        rows.push(row);
    }
    Ok(rows)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a figure for people, far below 2^52"
)]
fn kib_as_mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

/// Has the kernel forget the peak of this process's memory; gives what it uses now, in KiB.
fn forget_peak() -> Result<u64> {
    fs::write("/proc/self/clear_refs", "5").context("forget the peak of memory")?;
    memory("VmRSS")
}

fn memory(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.context("read the memory of this process")?.parse()?)
}

/// Servers, name servers and networks that are slow: each ends at the deadline.
pub(super) async fn slowness(times: usize) -> Result<Row> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 60000\r\n\r\nx";
    let web = Web::start(move |path| match path {
        "/drip-head" => Answer::Drip(head.to_vec(), Duration::from_millis(20)),
        "/drip-body" => Answer::Drip(
            [head.to_vec(), vec![b'x'; 60_000]].concat(),
            Duration::from_millis(5),
        ),
        "/hang-body" => Answer::Hang(head.to_vec()),
        "/slow-hops" => Answer::Drip(
            b"HTTP/1.1 302 Found\r\nlocation: /slow-hops\r\ncontent-length: 0\r\n\r\n".to_vec(),
            Duration::from_millis(4),
        ),
        _ => Answer::Hang(Vec::new()),
    })
    .await?;
    let paths = [
        "/hang",
        "/hang-body",
        "/drip-head",
        "/drip-body",
        "/slow-hops",
    ];
    let mut clients: Vec<(Client, &str)> = Vec::new();
    for path in paths {
        clients.push((local()?, path));
    }
    let here = Scripted(vec![[127, 0, 0, 1].into()]);
    clients.push((client(Silent, &Arc::new(TcpDial))?, "/name-server"));
    clients.push((client(here, &Arc::new(Silent))?, "/network"));
    let (mut worst, mut early) = (Duration::ZERO, Vec::new());
    for (client, path) in clients.iter().cycle().take(clients.len() * times) {
        let begun = Instant::now();
        let ended = fetch(client, &web, path, DEADLINE).await?;
        worst = worst.max(begun.elapsed().saturating_sub(DEADLINE));
        let error = ended.map_err(|error| error.error);
        if !matches!(
            error,
            Err(EgressError::Deadline | EgressError::DeadlineBeforeSend)
        ) {
            early.push(*path);
        }
    }
    let number = clients.len() * times;
    let mut row = Row::new("slow answers", number).seen(format!(
        "each cut off at its deadline of {} ms, at most {} ms later",
        DEADLINE.as_millis(),
        worst.as_millis()
    ));
    row.promise(early.is_empty(), || format!("ended otherwise: {early:?}"));
    row.promise(worst <= LATE, || format!("{} ms late", worst.as_millis()));
    Ok(row)
}
