//! Defaults and headers: what is open that need not be.

use portcullis_e2e::Platform;

#[tokio::test]
async fn owasp_misconfiguration_the_servers_are_private_to_their_machine_and_user() {
    let platform = Platform::shared().unwrap();
    assert!(platform.address().unwrap().ip().is_loopback());
    let listening = platform
        .database("postgres")
        .query("show listen_addresses")
        .unwrap();
    assert_eq!(listening, "", "the database listens on no network");
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let value = platform
            .database("postgres")
            .query(&format!("show {setting}"))
            .unwrap();
        assert_eq!(value, "on", "{setting}");
    }
    for file in ["operator.json", "keys.json", "secrets/admin.password"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = platform
            .data()
            .join(file)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file} can be read by others");
    }
}
