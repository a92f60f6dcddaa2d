//! The registries, as a table.

use std::net::IpAddr;

use crate::address::{Class, class, may_be_opened};
use crate::allowance::{InternalNetwork, InternalNetworks};

const PUBLIC: [&str; 24] = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2600::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "2001:4860:4860::8888",
];

const INTERNAL: [&str; 14] = [
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

const FORBIDDEN: [&str; 75] = [
    // IPv4: the registry, and reserved space
    "0.0.0.0",
    "0.255.255.255",
    "169.254.0.1",
    "169.254.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.10",
    "192.0.0.170",
    "192.0.0.171",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    // metadata
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "fd00:100::100:200",
    // IPv6: nothing, mapped, compatible, translated
    "::",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a00:1",
    "::8.8.8.8",
    "::127.0.0.1",
    "::a9fe:a9fe",
    "::2",
    "::ffff:0:8.8.8.8",
    "::ffff:0:10.0.0.1",
    // NAT64, both
    "64:ff9b::8.8.8.8",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    // discard, dummy prefix
    "100::1",
    "100:0:0:1::1",
    // Teredo, benchmarking, AMT, AS112, ORCHID, drones, the rest of 2001::/23
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:3::1",
    "2001:4:112::1",
    "2001:10::1",
    "2001:20::1",
    "2001:30::1",
    "2001:1ff:ffff::1",
    // documentation, 6to4, AS112, 6bone, segment routing
    "2001:db8::1",
    "3fff::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "3ffe::1",
    "5f00::1",
    // link-local, site-local, multicast
    "fe80::1",
    "fe80::a9fe:a9fe",
    "fec0::1",
    "ff02::1",
    // ISATAP in public and in unique-local space
    "2a00:1450::5efe:a00:1",
    "fd12::200:5efe:127.0.0.1",
];

fn read(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn every_public_address_is_public() {
    for text in PUBLIC {
        assert_eq!(class(read(text)), Class::Public, "{text}");
    }
}

#[test]
fn addresses_of_the_inside_are_internal() {
    for text in INTERNAL {
        assert!(matches!(class(read(text)), Class::Internal(_)), "{text}");
    }
}

#[test]
fn special_and_metadata_addresses_are_forbidden() {
    for text in FORBIDDEN {
        assert!(matches!(class(read(text)), Class::Forbidden(_)), "{text}");
    }
}

fn everything() -> InternalNetworks {
    let open = |network: &str| InternalNetwork {
        network: network.parse().unwrap(),
        ports: vec![80, 8080],
        tenants: vec!["acme".to_owned()],
        servers: vec!["orders".to_owned()],
    };
    InternalNetworks::new(vec![open("0.0.0.0/0"), open("::/0")])
}

#[test]
fn an_opening_of_everything_opens_no_forbidden_address() {
    let allowance = everything().allowance("acme", "orders");
    for text in FORBIDDEN {
        assert!(!allowance.opens(read(text), 80), "{text}");
    }
    for text in INTERNAL {
        assert!(allowance.opens(read(text), 80), "{text}");
    }
}

#[test]
fn an_opening_is_for_its_tenants_servers_and_ports_alone() {
    let networks = everything();
    let inside = read("10.0.0.1");
    let opens = |tenant, server, port| networks.allowance(tenant, server).opens(inside, port);
    assert!(opens("acme", "orders", 8080));
    assert!(!opens("acme", "orders", 5432));
    assert!(!opens("globex", "orders", 8080));
    assert!(!opens("acme", "billing", 8080));
    assert!(!opens("Acme", "orders", 8080));
}

#[test]
fn only_networks_of_the_inside_can_be_opened() {
    for text in [
        "10.0.0.0/8",
        "10.2.3.0/24",
        "127.0.0.1/32",
        "::1/128",
        "fd12::/16",
    ] {
        assert!(may_be_opened(text.parse().unwrap()), "{text}");
    }
    for text in [
        "0.0.0.0/0",
        "8.0.0.0/6",
        "93.184.216.34/32",
        "169.254.169.254/32",
        "::/0",
        "fe80::/10",
        "::ffff:10.0.0.0/104",
    ] {
        assert!(!may_be_opened(text.parse().unwrap()), "{text}");
    }
}
