//! The configuration that the local platform runs with, as a file: so that what runs can be read,
//! and a second replica started beside it with `portcullis serve --config`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use portcullis_domain::Pool;
use toml::{Table, Value};
use url::Url;

use super::authority::TlsFiles;
use super::folder::Folder;

/// The control database's name.
pub(super) const CONTROL: &str = "portcullis_control";

/// The name of a pool's database.
pub(super) fn region(pool: Pool) -> String {
    format!("portcullis_{}", pool.as_str().replace('-', "_"))
}

/// The URL of one role at one database of the private cluster, without a password.
pub(super) fn url(sockets: &Path, role: &str, database: &str) -> String {
    // The host in the URL is a place to put the password before; the socket is what is used.
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("host", &sockets.to_string_lossy())
        .append_pair("port", "5432")
        .finish();
    format!("postgres://{role}@localhost/{database}?{query}")
}

/// Where the platform listens, and under which origin it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Plain HTTP.
    pub(super) listen: SocketAddr,
    /// HTTPS.
    pub(super) https: SocketAddr,
    /// Whether somebody asked for just that address.
    pub(super) https_is_chosen: bool,
    /// Metrics and health.
    pub(super) admin: SocketAddr,
    /// Whether somebody asked for just that address.
    pub(super) admin_is_chosen: bool,
    /// Whether the origin is that of HTTPS.
    pub(super) by_https: bool,
}

impl Places {
    /// Takes any free port instead of one that is taken and that nobody asked for. Says whether it was
    /// such a one.
    pub(super) fn give_up(&mut self, taken: SocketAddr) -> bool {
        for (place, chosen) in [
            (&mut self.https, self.https_is_chosen),
            (&mut self.admin, self.admin_is_chosen),
        ] {
            if *place == taken && !chosen && taken.port() != 0 {
                place.set_port(0);
                return true;
            }
        }
        false
    }

    fn origin(self) -> String {
        if self.by_https {
            public_url("https", self.https)
        } else {
            public_url("http", self.listen)
        }
    }
}

/// The file's text. HTTPS and the admin listener are left out of what others read: their addresses are
/// taken by `up` itself.
pub(super) fn text(folder: &Folder, sockets: &Path, places: Places, own: bool) -> String {
    let login = |table: &mut Table, role: &str, database: &str| {
        let user = format!("portcullis_{role}");
        let password = folder.password(role).display().to_string();
        table.insert(format!("{role}_url"), url(sockets, &user, database).into());
        table.insert(format!("{role}_password_file"), password.into());
    };
    let mut server = Table::new();
    server.insert("public_url".to_owned(), places.origin().into());
    server.insert("listen".to_owned(), places.listen.to_string().into());
    if own {
        server.insert("tls".to_owned(), Value::Table(tls(folder, places.https)));
    }
    // There is no other replica that callers could turn to meanwhile.
    server.insert("lame_duck_seconds".to_owned(), 0.into());
    let mut control = Table::new();
    for role in ["app", "owner", "sweeper"] {
        login(&mut control, role, CONTROL);
    }
    let mut regions = Table::new();
    for pool in Pool::ALL {
        let mut table = Table::new();
        for role in ["app", "recorder", "owner", "sweeper"] {
            login(&mut table, role, &region(pool));
        }
        regions.insert(pool.as_str().to_owned(), Value::Table(table));
    }
    let keys = Table::from_iter([("file".to_owned(), text_of(&folder.keys()))]);
    let telemetry = Table::from_iter([
        ("log_format".to_owned(), Value::from("text")),
        (
            "log_level".to_owned(),
            Value::from("warn,portcullis_api=info"),
        ),
    ]);
    let mut whole = Table::from_iter([
        ("profile".to_owned(), Value::from("local")),
        ("server".to_owned(), Value::Table(server)),
        ("control".to_owned(), Value::Table(control)),
        ("regions".to_owned(), Value::Table(regions)),
        ("keys".to_owned(), Value::Table(keys)),
        ("telemetry".to_owned(), Value::Table(telemetry)),
    ]);
    if own {
        let listen = Value::from(places.admin.to_string());
        let admin = Table::from_iter([("listen".to_owned(), listen)]);
        whole.insert("admin".to_owned(), Value::Table(admin));
    }
    format!(
        "# Written by `portcullis up` at each start. Another replica beside it:\n\
         #   PORTCULLIS_SERVER_LISTEN=127.0.0.1:0 portcullis serve --config {}\n\n{whole}",
        folder.config().display()
    )
}

fn tls(folder: &Folder, listen: SocketAddr) -> Table {
    let files = TlsFiles::of(folder);
    Table::from_iter([
        ("certificate_file".to_owned(), text_of(&files.certificate)),
        ("private_key_file".to_owned(), text_of(&files.key)),
        ("listen".to_owned(), listen.to_string().into()),
    ])
}

fn text_of(path: &Path) -> Value {
    Value::from(path.display().to_string())
}

/// Where clients reach a listener: itself, or this machine where it listens on every address.
fn public_url(scheme: &str, listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => listen.ip(),
    };
    let url = format!("{scheme}://{}", SocketAddr::new(ip, listen.port()));
    // A scheme's own port is left out of a URL's normal form, and of the `Host` that clients send.
    Url::parse(&url).map_or(url, |url| url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_an_address_that_they_can_reach() {
        for (scheme, listen, url) in [
            ("http", "127.0.0.1:8420", "http://127.0.0.1:8420"),
            ("http", "0.0.0.0:8420", "http://127.0.0.1:8420"),
            ("http", "[::]:9000", "http://[::1]:9000"),
            ("http", "127.0.0.2:80", "http://127.0.0.2"),
            ("https", "127.0.0.1:443", "https://127.0.0.1"),
            ("https", "127.0.0.1:80", "https://127.0.0.1:80"),
        ] {
            assert_eq!(public_url(scheme, listen.parse().unwrap()), url);
        }
    }

    #[test]
    fn a_socket_folder_with_odd_letters_survives_the_url() {
        let url = url(Path::new("/tmp/a b&c"), "portcullis_app", CONTROL);
        let parsed = Url::parse(&url).unwrap();
        let host = parsed.query_pairs().find(|(key, _)| key == "host").unwrap();
        assert_eq!(host.1, "/tmp/a b&c");
    }
}
