//! Whatever the URL and whatever the resolver answers: an address that is dialled is public, or opened.
//! The fuzz target under `fuzz` holds the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::corpus::dialled;
use crate::address::{Class, class};
use crate::corpus::cases;

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
    // Close to the borders, where a wrong prefix shows.
    let known: Vec<IpAddr> = cases()
        .unwrap()
        .into_iter()
        .flat_map(|case| case.answers)
        .collect();
    let near =
        (prop::sample::select(known), any::<u8>()).prop_map(|(address, off)| match address {
            IpAddr::V4(one) => IpAddr::V4(Ipv4Addr::from_bits(
                one.to_bits().wrapping_add(u32::from(off)).wrapping_sub(128),
            )),
            IpAddr::V6(one) => IpAddr::V6(Ipv6Addr::from_bits(
                one.to_bits()
                    .wrapping_add(u128::from(off))
                    .wrapping_sub(128),
            )),
        });
    prop::collection::vec(prop_oneof![v4, v6, near], 0..5)
}

fn urls() -> impl Strategy<Value = String> {
    let known: Vec<String> = cases().unwrap().into_iter().map(|case| case.url).collect();
    let known = prop::sample::select(known);
    let spliced = (known.clone(), known.clone(), any::<prop::sample::Index>()).prop_map(
        |(one, other, at)| {
            let chars: Vec<char> = one.chars().collect();
            let at = at.index(chars.len() + 1);
            chars
                .iter()
                .take(at)
                .chain(&other.chars().collect::<Vec<_>>())
                .collect()
        },
    );
    let host = "[a-z0-9.:@%\\\\\\[\\]x_-]{1,24}".prop_map(|host| format!("http://{host}/"));
    prop_oneof![known, spliced, host, "\\PC{0,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_dialled_address_is_public(url in urls(), answers in addresses()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dialled = runtime.block_on(dialled(&url, answers.clone()));
        for address in dialled {
            prop_assert_eq!(class(address), Class::Public, "{} {:?}", url, answers);
        }
    }
}
